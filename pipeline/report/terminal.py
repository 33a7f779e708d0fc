"""The table for the terminal: our figures, the paper's beside them, and what the differences allow to say."""

import textwrap

import numpy as np

from pipeline.distillation.methods import METHODS, RIVALS, SUBJECT, compared
from pipeline.evaluation.metrics import HEADLINES
from pipeline.report import findings, training
from pipeline.report.results import Results

WIDTH = 110
GAP = "  "


def terminal_table(results: Results) -> str:
    """Return the main table and the lines below it as plain text, at most about 110 columns wide."""
    rows = [_header(results), *(_row(results, method) for method in results.methods)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [_align(row, widths) for row in rows]
    width = max(map(len, lines))
    rivals = sum(method in RIVALS for method in results.methods)
    above, below = (lines[1:-rivals], lines[-rivals:]) if rivals else (lines[1:], [])
    rule = ["-- rivals, not in the paper ".ljust(width, "-")] if rivals else []
    table = ["paper's own data".rjust(width), lines[0], "-" * width, *above, *rule, *below]
    notes = [
        findings.data_sentence(results),
        f"{findings.seeds_sentence(results)} {findings.weights_sentence(results)}",
        f"P, R, F1 on the right: the paper's Table I ({findings.PAPER_DATA[results.params.task]}), measured on its "
        "own data, not on ours.",
        findings.rank_sentence(results, "f1_macro") + " " + findings.rank_sentence(results, "auroc_macro"),
        *training.sentences(results),
        findings.resampling_sentence(results),
    ]
    wrapped = [line for note in notes for line in textwrap.wrap(note, WIDTH)]
    return "\n".join([*table, "", *wrapped, *_differences(results)]) + "\n"


def _header(results: Results) -> list[str]:
    return ["Method (test split, macro)", *findings.TABLE_COLUMNS.values(), "P", "R", "F1"]


def _row(results: Results, method: str) -> list[str]:
    """One method's cells; several seeds leave out the leading zeros, so that mean and deviation fit."""
    paper = findings.paper_figures(results.params.task).get(method, (np.nan,) * 3)
    numbers = [findings.number(*results.figure(method, metric), separator="±") for metric in findings.TABLE_COLUMNS]
    numbers += [findings.number(value) for value in paper]
    several = len(results.seeds) > 1
    return [METHODS[method].title, *(text.replace("0.", ".") if several else text for text in numbers)]


def _align(row: list[str], widths: list[int]) -> str:
    cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
    return (GAP.join(cells[:-3]) + GAP + " ".join(cells[-3:])).rstrip()


def _differences(results: Results) -> list[str]:
    """One line for each method that RoS-KD is compared with."""
    if SUBJECT not in results.methods:
        return ["RoS-KD was not measured."]
    rows = [["RoS-KD minus", "F1", "", "AUROC", ""]]
    for method in compared(results.methods):
        found = [findings.difference(results, SUBJECT, method, metric) for metric in HEADLINES]
        if any(found):
            cells = [text for one in found for text in ((one.text, one.verdict) if one else ("", ""))]
            rows.append([METHODS[method].title, *cells])
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    return [GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
