"""What the report reads: the artefacts of a run, loaded once, and means over seeds."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from pipeline.common.errors import UserError
from pipeline.common.labels import encode, indicator
from pipeline.common.layout import POOLS, Layout
from pipeline.common.tables import read_csv
from pipeline.data.prepared import open_images, read_report, read_samples
from pipeline.distillation.methods import METHODS, ordered, runs_of, teachers_needed
from pipeline.evaluation.comparisons import COMPARISON_COLUMNS
from pipeline.evaluation.corrections import EFFECT_COLUMNS
from pipeline.evaluation.memorisation import TRAINING_COLUMNS
from pipeline.evaluation.predictions import TEACHER_COLUMNS
from pipeline.params.tree import Params
from pipeline.training.history import read_history

NOISE_FIELDS = ("kind", "realised", "corrected", "classes", "nominal")
NUMBERS = (
    "value", "difference", "low", "high", "p_value", "p_holm", "checked", "precision", "recall", "before", "now",
    "labels",
)  # fmt: skip
IN_PLOTS, IN_SHEET = 40, 20
"""So many of the most frequent classes are shown in plots with a row for each, and in the contact sheet."""
HISTORY = ["epoch", "split", "metric", "value"]


class MeanSd(NamedTuple):
    """Mean and standard deviation (n - 1) over seeds; `sd` is NaN for one seed."""

    mean: float
    sd: float


@dataclass(frozen=True)
class Results:
    """One run of the pipeline as tables; what a run did not make is an empty table.

    `samples`: one row per image, in the order of images.npy: sample_id, group_id, label, split, given, published,
    flipped (0 or 1). `published` and `given`: bool (N, C), which classes each image has. `members`: training sample x
    teacher, 0 or 1. `curves` and `teacher_curves`: the histories of all runs, with columns `seed, method` and `seed,
    pool, architecture`. `data` is data/report.json, `noise` splits/noise.json, `audit` audit/summary.json, and
    `suspects`, `orders` and `near_duplicates` the tables beside it. The others are as in metrics/.
    """

    params: Params
    layout: Layout
    classes: tuple[str, ...]
    students: pd.DataFrame
    teachers: pd.DataFrame
    training: pd.DataFrame
    comparisons: pd.DataFrame
    intervals: pd.DataFrame
    samples: pd.DataFrame
    published: np.ndarray
    given: np.ndarray
    data: dict[str, Any]
    noise: dict[str, Any]
    members: pd.DataFrame
    curves: pd.DataFrame
    teacher_curves: pd.DataFrame
    audit: dict[str, Any]
    suspects: pd.DataFrame
    orders: pd.DataFrame
    corrections: pd.DataFrame
    near_duplicates: pd.DataFrame

    @property
    def methods(self) -> list[str]:
        """The methods that were measured, in the order of the table."""
        return ordered(self.students["method"])

    @property
    def seeds(self) -> list[int]:
        """The seeds that were measured."""
        return sorted(set(map(int, self.students["seed"])))

    @property
    def compared(self) -> pd.DataFrame:
        """The comparisons that are shown: with seeds resampled too where that was done, the stronger claim."""
        both = self.comparisons["resampled"] == "groups+seeds"
        return self.comparisons.loc[both] if both.any() else self.comparisons

    @property
    def images(self) -> np.ndarray | None:
        """The images, uint8 (N, H, W, channels), as a memory map."""
        return open_images(self.layout) if self.layout.images.exists() else None

    def frequent(self, most: int) -> list[int]:
        """Return the indices of the `most` classes with the most images, in the order of the classes."""
        counts = self.published.sum(axis=0)
        return sorted(np.argsort(-counts, kind="stable")[:most].tolist())

    def predictions(self, method: str) -> dict[int, dict[str, np.ndarray]]:
        """Return the stored test targets and logits of a method's checkpoint, for each seed that has them."""
        found = {}
        for seed in self.seeds:
            path = self.layout.predictions(seed, method, METHODS[method].checkpoint)
            if path.exists():
                with np.load(path) as stored:
                    found[seed] = {key: stored[key] for key in ("test_targets", "test_logits")}
        return found

    def trained(self) -> dict[tuple[str, str], dict[str, float]]:
        """Return {(pool, network): {metric: mean over seeds}} of metrics/training.csv, pool "" for students."""
        found: dict[tuple[str, str], dict[str, float]] = {}
        for (pool, network, metric), figure in over_seeds(self.training, ["pool", "network", "metric"]).items():
            found.setdefault((pool, network), {})[metric] = figure.mean
        return found

    def summary(self, metrics: Sequence[str]) -> dict[tuple, MeanSd]:
        """Return overall figures on the test split by (method, checkpoint, metric)."""
        return over_seeds(where(self.students, "test", metrics, overall=True), ["method", "checkpoint", "metric"])

    def figure(self, method: str, metric: str) -> MeanSd:
        """Return an overall figure of a method's checkpoint on the test split."""
        return self.summary([metric]).get((method, METHODS[method].checkpoint, metric), MeanSd(np.nan, np.nan))

    def per_class(self, metric: str) -> dict[tuple, MeanSd]:
        """Return a figure of every class on the test split by (method, checkpoint, class)."""
        return over_seeds(where(self.students, "test", [metric], overall=False), ["method", "checkpoint", "class"])


def where(table: pd.DataFrame, split: str, metrics: Sequence[str], *, overall: bool) -> pd.DataFrame:
    """Return the rows of one split and some metrics: overall figures, or those of single classes."""
    chosen = (table["split"] == split) & table["metric"].isin(list(metrics)) & ((table["class"] == "") == overall)
    return table.loc[chosen]


def over_seeds(rows: pd.DataFrame, by: list[str]) -> dict[tuple, MeanSd]:
    """Return each group's mean and standard deviation of the column value; groups keep the order of the table."""
    grouped = rows.groupby(by, sort=False)["value"]
    return {key: MeanSd(float(values.mean()), float(values.std())) for key, values in grouped}  # type: ignore[misc]


def load(params: Params, layout: Layout) -> Results:
    """Read the artefacts; raises UserError that names a table that must be there and is not."""
    seeds = params.seeds
    student_files = {
        (seed, run): layout.student_history(seed, METHODS[run].pool, run)
        for seed in seeds
        for run in runs_of(params.methods)
    }
    teacher_files = {
        (seed, pool, name): layout.teacher_history(seed, pool, name)
        for seed in seeds
        for pool in reversed(POOLS)
        for name in teachers_needed(params.methods, pool, params.teacher_names(pool))
    }
    samples, data = read_samples(layout, params.task), read_report(layout)
    labels = read_csv(layout.labels, ["given", "flipped"])
    given = encode(labels["given"], samples.classes, params.task, origin=str(layout.labels))
    return Results(
        params=params,
        layout=layout,
        classes=samples.classes,
        students=_numbers(read_csv(layout.student_metrics)),
        teachers=_optional(layout.teacher_metrics, TEACHER_COLUMNS),
        training=_optional(layout.training_metrics, TRAINING_COLUMNS),
        comparisons=_optional(layout.comparisons, COMPARISON_COLUMNS),
        intervals=_optional(layout.intervals, ["method", "checkpoint", "metric", "value", "low", "high"]),
        samples=_samples(layout, samples.table, labels),
        published=indicator(samples.published, len(samples.classes)),
        given=indicator(given, len(samples.classes)),
        data=data,
        noise=_noise(layout.noise),
        members=_optional(layout.subsets, ["sample_id"]),
        curves=_histories(student_files, ["seed", "method"]),
        teacher_curves=_histories(teacher_files, ["seed", "pool", "architecture"]),
        audit=json.loads(layout.audit_summary.read_text(encoding="utf-8")) if layout.audit_summary.exists() else {},
        suspects=_optional(layout.suspects, ["sample_id", "given", "suggested"]),
        orders=_optional(layout.orders, ["order", "checked", "precision", "recall"]),
        corrections=_optional(layout.corrections, EFFECT_COLUMNS),
        near_duplicates=_optional(layout.near_duplicates, ["sample_id", "duplicate_of", "split", "split_of"]),
    )


def _samples(layout: Layout, table: pd.DataFrame, labels: pd.DataFrame) -> pd.DataFrame:
    splits = read_csv(layout.splits, ["sample_id", "split"])
    joined = table.merge(splits, on="sample_id", how="left", validate="1:1")
    joined = joined.merge(labels, on="sample_id", how="left", validate="1:1")
    return joined.assign(flipped=joined["flipped"].astype(int))


def _histories(files: dict[tuple, Path], names: list[str]) -> pd.DataFrame:
    tables = [
        read_history(path).assign(**dict(zip(names, key, strict=True))) for key, path in files.items() if path.exists()
    ]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=[*names, *HISTORY])


def _noise(path: Path) -> dict[str, Any]:
    """Read noise.json; raises UserError where it is missing or was written by other code."""
    if not path.exists():
        raise UserError(f"{path}: no such file, the report needs it; run `make repro` to make it")
    content = json.loads(path.read_text(encoding="utf-8"))
    missing = [name for name in NOISE_FIELDS if name not in content]
    if missing:
        raise UserError(f"{path}: has no field {', '.join(missing)}; run `make repro` to write it again")
    return content


def _optional(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    return _numbers(read_csv(path)) if path.exists() else pd.DataFrame(columns=list(columns))


def _numbers(table: pd.DataFrame) -> pd.DataFrame:
    """A table of text with numbers where they are meant: a class may well be called NA."""
    return table.assign(**{name: pd.to_numeric(table[name]) for name in NUMBERS if name in table})
