"""Corruptions and other sources: what a report says of students on worse images, and on another clinic's."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipeline.common.tables import read_csv
from pipeline.data.external_set import read_external_report
from pipeline.distillation.methods import METHODS, SUBJECT, ordered
from pipeline.evaluation.shift import ALL, CLEAN, CORRUPTION_COLUMNS, EXTERNAL_COLUMNS, MEAN
from pipeline.report import external
from pipeline.report.findings import groups_word, number
from pipeline.report.results import Results
from pipeline.report.tables import Row

SUMMARY_HEADS = ("F1 clean", "F1 corrupted", "Fall", "Error clean", "Error corrupted")
EXTERNAL_HEADS = {"f1_macro": "F1", "auroc_macro": "AUROC", "error": "Error"}
SOURCES = ("external", "own")


@dataclass(frozen=True)
class Figure:
    """A figure with what is known of its spread: over groups for one seed, over seeds for several; NaN if unknown."""

    value: float
    low: float
    high: float


NOTHING = Figure(np.nan, np.nan, np.nan)


@dataclass(frozen=True)
class Shift:
    """The tables of all methods and seeds, with columns seed and method; `summary` and `report` are of the stages."""

    methods: list[str]
    corruptions: pd.DataFrame
    external: pd.DataFrame
    summary: dict[str, Any]
    report: dict[str, Any] | None

    def corruption(self, method: str, kind: str, severity: int | str, metric: str) -> Figure:
        """Return a figure on corrupted images, or on CLEAN ones at severity 0."""
        table = self.corruptions
        keys = (table["kind"] == kind) & (table["severity"] == str(severity)) & (table["metric"] == metric)
        return _spread(table.loc[keys & (table["method"] == method)])

    def of_source(self, method: str, source: str, metric: str) -> Figure:
        """Return a figure on the external images or on our own, by `source`."""
        table = self.external
        keys = (table["source"] == source) & (table["metric"] == metric)
        return _spread(table.loc[keys & (table["method"] == method)])


def _spread(rows: pd.DataFrame) -> Figure:
    if not len(rows):
        return NOTHING
    values = rows["value"].to_numpy(dtype=float)
    mean = float(values.mean())
    if len(values) == 1:
        return Figure(mean, float(rows["low"].iloc[0]), float(rows["high"].iloc[0]))
    sd = float(values.std(ddof=1))
    return Figure(mean, mean - sd, mean + sd)


def load(results: Results) -> Shift | None:
    """Read the stages' files; None where no method was tried."""
    layout, corruptions, others, summary = results.layout, [], [], {}
    for seed in results.params.seeds:
        for method in results.params.robustness.methods:
            path, keys = layout.corruption_figures(seed, method), {"seed": seed, "method": method}
            if path.exists() and len(table := read_csv(path, CORRUPTION_COLUMNS)):
                corruptions.append(table.assign(**keys))
                summary = json.loads(layout.shift_summary(seed, method).read_text(encoding="utf-8"))
                if layout.external_figures(seed, method).exists():
                    table = read_csv(layout.external_figures(seed, method), EXTERNAL_COLUMNS)
                    others.append(table.assign(**keys))
    if not corruptions:
        return None
    report = read_external_report(layout) if layout.external_report.exists() else None
    table = _joined(corruptions, CORRUPTION_COLUMNS)
    return Shift(ordered(table["method"]), table, _joined(others, EXTERNAL_COLUMNS), summary, report)


def _joined(tables: Sequence[pd.DataFrame], columns: Sequence[str]) -> pd.DataFrame:
    if not tables:
        return pd.DataFrame(columns=["seed", "method", *columns])
    table = pd.concat(tables, ignore_index=True)
    return table.assign(**{name: pd.to_numeric(table[name]) for name in ("value", "low", "high")})


def sentences(results: Results, shift: Shift) -> list[str]:
    """Return what was tried, what it costs, and under which corruption most is lost."""
    summary, severities = shift.summary, " and ".join(_listed(shift.summary["severities"]))
    degree = "severities" if len(summary["severities"]) > 1 else "severity"
    told = [
        f"{summary['images']:,} test images of {summary['groups']:,} {groups_word(results.params)} under "
        f"{len(summary['kinds'])} corruptions at {degree} {severities} of 5."
    ]
    if summary["reference"]:
        found = {name: shift.corruption(name, ALL, MEAN, "ce").value for name in shift.methods}
        shown = ", ".join(f"{METHODS[name].title} {number(value)}" for name, value in found.items())
        told.append(
            f"Mean corruption error, relative to {METHODS[summary['reference']].title}, which has 1: {shown}. Lower is "
            "better."
        )
    method = SUBJECT if SUBJECT in shift.methods else shift.methods[0]
    clean = shift.corruption(method, CLEAN, 0, "f1_macro").value
    lost = {kind: shift.corruption(method, kind, MEAN, "f1_macro").value for kind in summary["kinds"]}
    worst = min(lost, key=lambda kind: lost[kind])
    told.append(
        f"{METHODS[method].title} loses most under {words(worst)}: F1 {number(lost[worst])}, mean over severities, "
        f"against {number(clean)} on the images as they are."
    )
    return told


def _listed(values: Sequence[int]) -> list[str]:
    """All but the last joined by commas, and the last: to be joined by `and`."""
    *first, last = map(str, values)
    return [", ".join(first), last] if first else [last]


def words(kind: str) -> str:
    """Return a corruption's name as one says it."""
    named = {"jpeg": "JPEG compression", "pixelate": "low resolution"}
    return named.get(kind, kind.replace("_", " ").replace("gaussian", "Gaussian"))


def corruption_table(shift: Shift) -> list[Row]:
    """One row per method: SUMMARY_HEADS, and with a reference the mean corruption error with its interval."""
    rows = []
    for name in shift.methods:
        clean, corrupted = (
            [shift.corruption(name, kind, severity, metric).value for metric in ("f1_macro", "error")]
            for kind, severity in ((CLEAN, 0), (ALL, MEAN))
        )
        fall = clean[0] - corrupted[0]
        cells = [*map(number, (clean[0], corrupted[0], fall, clean[1], corrupted[1]))]
        if shift.summary["reference"]:
            cells.append(_with_bounds(shift.corruption(name, ALL, MEAN, "ce")))
        rows.append(Row(METHODS[name].title, cells, kind="ours" if name == SUBJECT else ""))
    return rows


def corruption_heads(shift: Shift) -> list[str]:
    """The heads of `corruption_table`."""
    return [*SUMMARY_HEADS, *(["mCE"] if shift.summary["reference"] else [])]


def external_table(shift: Shift) -> list[Row]:
    """One row per method: each figure on the external images, then on our own test images, with intervals."""
    return [
        Row(
            METHODS[name].title,
            [_with_bounds(shift.of_source(name, source, metric)) for metric in EXTERNAL_HEADS for source in SOURCES],
            kind="ours" if name == SUBJECT else "",
        )
        for name in shift.methods
        if len(shift.external.loc[shift.external["method"] == name])
    ]


def external_sentences(results: Results, shift: Shift) -> list[str]:
    """Return what must be known of the external set, with the splits of our own images that are in it, too."""
    if shift.report is None:
        return []
    first, *others = external.sentences(shift.report)
    told = [f"{first}.", *(f"{line[0].upper()}{line[1:]}." for line in others)]
    split_of = dict(zip(results.samples["sample_id"], results.samples["split"], strict=True))
    again = pd.Series([split_of.get(own) for _, own in shift.report["equal_to"]]).value_counts()
    if len(again):
        shown = ", ".join(f"{count:,} in {split}" for split, count in again.items())
        told.append(
            f"Of these, {shown} of our own splits. Students were trained on those in train: take these "
            "out of the external table."
        )
    return told


def spread_words(results: Results) -> str:
    """What the intervals are."""
    if len(results.params.seeds) == 1:
        return f"95 % intervals over test {groups_word(results.params)}, one seed"
    return f"one standard deviation over {len(results.params.seeds)} seeds either way"


def _with_bounds(figure: Figure) -> str:
    if not np.isfinite([figure.value, figure.low, figure.high]).all():
        return number(figure.value)
    return f"{figure.value:.3f} [{figure.low:.3f}, {figure.high:.3f}]"
