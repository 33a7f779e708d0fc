"""What the report reads: the artefacts of a run, loaded once, and means over seeds."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from pipeline.common import layout as artifacts
from pipeline.common.errors import UserError
from pipeline.common.labels import SEPARATOR
from pipeline.common.tables import read_csv
from pipeline.distillation.methods import ROSKD, ROSKD_RUN, RUNS, TITLES, reported_checkpoint
from pipeline.params.tree import Params

DATA_FIELDS = (
    "classes", "image_size", "channels", "sizes", "quarantined", "duplicate_sets", "conflicting_sets", "duplicates",
    "sha256",
)  # fmt: skip
NOISE_FIELDS = ("kind", "realised", "corrected", "classes", "nominal")
NUMBERS = ("value", "difference", "low", "high", "p_value", "p_holm")
HISTORY = ["epoch", "split", "metric", "value"]


class Figure(NamedTuple):
    """Mean and standard deviation (n - 1) over seeds; `sd` is NaN for one seed."""

    mean: float
    sd: float


@dataclass(frozen=True)
class Results:
    """One run of the pipeline as tables; what a run did not make is an empty table.

    `samples`: one row per image, in the order of images.npy: sample_id, group_id, label, split, given, published,
    flipped (0 or 1). `members`: training sample x teacher, 0 or 1. `curves` and `teacher_curves`: the histories of all
    runs, with columns `seed, method` and `seed, pool, architecture` in front. `data` is data/report.json, `noise`
    splits/noise.json. The others are as in metrics/.
    """

    params: Params
    root: Path
    classes: tuple[str, ...]
    students: pd.DataFrame
    teachers: pd.DataFrame
    comparisons: pd.DataFrame
    intervals: pd.DataFrame
    samples: pd.DataFrame
    data: dict[str, Any]
    noise: dict[str, Any]
    members: pd.DataFrame
    curves: pd.DataFrame
    teacher_curves: pd.DataFrame

    @property
    def methods(self) -> list[str]:
        """The methods that were measured, in the order of the table."""
        measured = set(self.students["method"])
        return [method for method in TITLES if method in measured]

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
        path = located(self.root, artifacts.IMAGES)
        return np.load(path, mmap_mode="r") if path.exists() else None

    def predictions(self, method: str) -> dict[int, dict[str, np.ndarray]]:
        """Return the stored test targets and logits of a method's reported checkpoint, for each seed that has them."""
        checkpoint = reported_checkpoint(method)
        found = {}
        for seed in self.seeds:
            for name in (method, ROSKD_RUN) if method == ROSKD else (method,):
                path = located(self.root, artifacts.predictions(seed, name, checkpoint))
                if path.exists():
                    with np.load(path) as stored:
                        found[seed] = {key: stored[key] for key in ("test_targets", "test_logits")}
                    break
        return found

    def summary(self, metrics: Sequence[str]) -> dict[tuple, Figure]:
        """Return overall figures on the test split by (method, checkpoint, metric)."""
        return over_seeds(where(self.students, "test", metrics, overall=True), ["method", "checkpoint", "metric"])

    def figure(self, method: str, metric: str) -> Figure:
        """Return an overall figure of a method's reported checkpoint on the test split."""
        return self.summary([metric]).get((method, reported_checkpoint(method), metric), Figure(np.nan, np.nan))

    def per_class(self, metric: str) -> dict[tuple, Figure]:
        """Return a figure of every class on the test split by (method, checkpoint, class)."""
        return over_seeds(where(self.students, "test", [metric], overall=False), ["method", "checkpoint", "class"])


def label_flags(cells: pd.Series, classes: Sequence[str]) -> np.ndarray:
    """Return bool (N, C): which classes stand in each label cell; every different cell is read once."""
    codes, met = pd.factorize(cells)
    rows = [cell.split(SEPARATOR) for cell in map(str, met)]
    flags = np.array([[name in found for name in classes] for found in rows], dtype=bool)
    return flags.reshape(len(rows), len(classes))[codes]


def where(table: pd.DataFrame, split: str, metrics: Sequence[str], *, overall: bool) -> pd.DataFrame:
    """Return the rows of one split and some metrics: overall figures, or those of single classes."""
    chosen = (table["split"] == split) & table["metric"].isin(list(metrics)) & ((table["class"] == "") == overall)
    return table.loc[chosen]


def over_seeds(rows: pd.DataFrame, by: list[str]) -> dict[tuple, Figure]:
    """Return each group's mean and standard deviation of the column value; groups keep the order of the table."""
    grouped = rows.groupby(by, sort=False)["value"]
    return {key: Figure(float(values.mean()), float(values.std())) for key, values in grouped}  # type: ignore[misc]


def located(root: Path, path: Path) -> Path:
    """Return an artefact's path under `root` instead of artifacts/."""
    return root / path.relative_to(artifacts.ROOT)


def load(params: Params, root: Path = artifacts.ROOT) -> Results:
    """Read the artefacts under `root`; raises UserError that names a table that must be there and is not."""
    seeds, architectures = params.seeds, params.teachers.architectures
    student_files = {(seed, run): artifacts.student_history(seed, run) for seed in seeds for run in RUNS}
    teacher_files = {
        (seed, pool, name): artifacts.teacher_history(seed, pool, name)
        for seed in seeds
        for pool in ("subset", "full")
        for name in architectures
    }
    data = _json(root, artifacts.DATA_REPORT, DATA_FIELDS)
    teacher_columns = ["seed", "pool", "architecture", "split", "metric", "class", "value"]
    pair_columns = ["method_a", "method_b", "metric", "difference", "low", "high", "p_value", "p_holm"]
    return Results(
        params=params,
        root=root,
        classes=tuple(data["classes"]),
        students=_read(_needed(root, artifacts.STUDENT_METRICS)),
        teachers=_optional(root, artifacts.TEACHER_METRICS, teacher_columns),
        comparisons=_optional(root, artifacts.COMPARISONS, [*pair_columns, "n_groups", "n_seeds", "resampled"]),
        intervals=_optional(root, artifacts.INTERVALS, ["method", "checkpoint", "metric", "value", "low", "high"]),
        samples=_samples(root),
        data=data,
        noise=_json(root, artifacts.NOISE, NOISE_FIELDS),
        members=_optional(root, artifacts.SUBSETS, ["sample_id"]),
        curves=_histories(root, student_files, ["seed", "method"]),
        teacher_curves=_histories(root, teacher_files, ["seed", "pool", "architecture"]),
    )


def _samples(root: Path) -> pd.DataFrame:
    samples, splits, labels = (
        _read(_needed(root, path)) for path in (artifacts.SAMPLES, artifacts.SPLITS, artifacts.LABELS)
    )
    table = samples.merge(splits, on="sample_id", how="left", validate="1:1")
    table = table.merge(labels, on="sample_id", how="left", validate="1:1")
    return table.assign(flipped=table["flipped"].astype(int))


def _histories(root: Path, files: dict[tuple, Path], names: list[str]) -> pd.DataFrame:
    tables = []
    for key, path in files.items():
        if located(root, path).exists():
            tables.append(_read(located(root, path)).assign(**dict(zip(names, key, strict=True))))
    if not tables:
        return pd.DataFrame(columns=[*names, *HISTORY])
    joined = pd.concat(tables, ignore_index=True)[[*names, *HISTORY]]
    return joined.assign(epoch=joined["epoch"].astype(int))


def _json(root: Path, path: Path, fields: Sequence[str]) -> dict[str, Any]:
    """Read a JSON file; raises UserError where it is missing or was written by other code."""
    content = json.loads(_needed(root, path).read_text(encoding="utf-8"))
    missing = [name for name in fields if name not in content]
    if missing:
        raise UserError(f"{located(root, path)}: has no field {', '.join(missing)}; run `make repro` to write it again")
    return content


def _needed(root: Path, path: Path) -> Path:
    if not located(root, path).exists():
        raise UserError(f"{located(root, path)}: no such file, the report needs it; run `make repro` to make it")
    return located(root, path)


def _optional(root: Path, path: Path, columns: list[str]) -> pd.DataFrame:
    return _read(located(root, path)) if located(root, path).exists() else pd.DataFrame(columns=columns)


def _read(path: Path) -> pd.DataFrame:
    """Read a table as text, with numbers where they are meant: a class may well be called NA."""
    table = read_csv(path)
    return table.assign(**{name: pd.to_numeric(table[name]) for name in NUMBERS if name in table})
