"""The tables of the page, as rows of text that the template only lays out."""

import json
from dataclasses import dataclass, field

import numpy as np

from models.names import Task
from pipeline.common.layout import Pool
from pipeline.distillation.methods import INGREDIENTS, METHODS, RIVALS, SUBJECT, compared, ranked
from pipeline.evaluation.metrics import HEADLINES
from pipeline.params.tree import flatten
from pipeline.report.findings import (
    COLUMNS,
    TABLE_COLUMNS,
    Difference,
    difference,
    number,
    paper_figures,
)
from pipeline.report.results import Results, over_seeds, where

CHECKPOINTS = {"last": "last epoch", "selected": "best validation epoch", "smoothed": "smoothed"}
FURTHER: dict[Task, dict[str, str]] = {
    "multiclass": {
        "f1_weighted": "F1, weighted",
        "accuracy": "Accuracy",
        "balanced_accuracy": "Balanced accuracy",
        "f1_macro_tuned": f"{COLUMNS['f1_macro']}, class biases",
    },
    "multilabel": {
        f"{name}_macro_at_0.5": f"{COLUMNS[f'{name}_macro']} at 0.5" for name in ("precision", "recall", "f1")
    },
}
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Row:
    """One line of a table: its head, its cells, the positions of cells in bold, and a class for the style sheet."""

    head: str
    cells: list[str]
    bold: set[int] = field(default_factory=set)
    kind: str = ""


def main(results: Results) -> list[Row]:
    """One row per method: our five figures, then the paper's three; bold is the best of a column as printed."""
    means = {metric: {m: results.figure(m, metric).mean for m in ranked(results.methods)} for metric in TABLE_COLUMNS}
    paper = paper_figures(results.params.task)
    rows = []
    for method in results.methods:
        cells = [number(*results.figure(method, metric)) for metric in TABLE_COLUMNS]
        bold = {i for i, metric in enumerate(TABLE_COLUMNS) if _is_best(means[metric], method, metric == "ece")}
        cells += [number(value) for value in paper.get(method, (np.nan,) * 3)]
        kind = "ours" if method == SUBJECT else "rival" if method in RIVALS else ""
        rows.append(Row(METHODS[method].title, cells, bold, kind))
    return rows


def _is_best(means: dict[str, float], method: str, lowest: bool) -> bool:
    """True for the highest (or lowest) mean; what prints alike is equally good."""
    known = [round(value, 3) for value in means.values() if np.isfinite(value)]
    return method in means and len(known) > 1 and round(means[method], 3) == (min(known) if lowest else max(known))


def differences(results: Results) -> list[Row]:
    """RoS-KD minus every other method: for each metric the difference, a verdict and the corrected p-value."""
    rows = []
    for method in compared(results.methods):
        found = [difference(results, SUBJECT, method, metric) for metric in HEADLINES]
        if any(found):
            cells = [text for one in found for text in (_shown(one) if one else ("", "", ""))]
            rows.append(Row(METHODS[method].title, cells))
    return rows


def ingredients(results: Results) -> list[Row]:
    """The share of each ingredient: the method that has it minus the one that lacks it and is the same in all else.

    Left out where one of the two was not measured.
    """
    rows = []
    for one in INGREDIENTS:
        if not {one.method, one.without} <= set(results.methods):
            continue
        found = [difference(results, one.method, one.without, metric) for metric in HEADLINES]
        cells = [f"{METHODS[one.method].title} minus {METHODS[one.without].title}"]
        cells += [text for d in found for text in (_shown(d) if d else ("", "", ""))]
        rows.append(Row(one.title, cells))
    return rows


def _shown(one: Difference) -> tuple[str, str, str]:
    return one.text, one.verdict, number(one.p_holm)


def further(results: Results) -> list[Row]:
    """One row per method: the figures of `FURTHER`."""
    metrics = FURTHER[results.params.task]
    return [
        Row(METHODS[method].title, [number(*results.figure(method, metric)) for metric in metrics])
        for method in results.methods
    ]


def checkpoints(results: Results) -> list[Row]:
    """Every checkpoint of every run; RoS-KD is the smoothed one of Baseline V."""
    summary = results.summary(list(TABLE_COLUMNS))
    rows = []
    for method in results.methods:
        for checkpoint, title in CHECKPOINTS.items():
            keys = [(method, checkpoint, metric) for metric in TABLE_COLUMNS]
            if METHODS[method].run == method and any(key in summary for key in keys):
                cells = [number(*summary[key]) if key in summary else "" for key in keys]
                rows.append(Row(METHODS[method].title if checkpoint == "last" else "", [title, *cells]))
    return rows


def teachers(results: Results) -> list[Row]:
    """Every teacher's figures on the test split, by pool."""
    rows = where(results.teachers, "test", list(TABLE_COLUMNS), overall=True)
    summary = over_seeds(rows, ["pool", "architecture", "metric"])
    titles: dict[Pool, str] = {"subset": "overlapping subset", "full": "all training data"}
    lines = []
    for pool, title in titles.items():
        for name in results.params.teacher_names(pool):
            keys = [(pool, name, metric) for metric in TABLE_COLUMNS]
            if any(key in summary for key in keys):
                lines.append(Row(name, [title, *(number(*summary[key]) if key in summary else "" for key in keys)]))
    return lines


def parameters(results: Results) -> list[tuple[str, list[tuple[str, str]]]]:
    """All parameters by section of params.yaml, but of those that decide nothing on the page."""
    sections: dict[str, list[tuple[str, str]]] = {}
    for name, value in flatten(results.params).items():
        section, _, key = name.partition(".")
        if section in ("registry", "serving", "study"):
            continue
        text = ", ".join(map(str, value)) if isinstance(value, tuple) else value
        text = text if isinstance(text, str) else json.dumps(text)
        sections.setdefault(section if key else "general", []).append((key or name, text))
    return list(sections.items())


HEADS = list(TABLE_COLUMNS.values())
COMPARED_HEADS = [COLUMNS[metric] for metric in HEADLINES]
