"""The prepared data as the stages after it see it: images, splits and labels, row by row."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from models.names import Task
from pipeline.common.errors import UserError
from pipeline.common.files import require_content
from pipeline.common.labels import encode
from pipeline.common.layout import Layout
from pipeline.common.tables import read_csv
from pipeline.params.tree import Params

REPORT_FIELDS = (
    "source", "task", "classes", "image_size", "channels", "images", "groups", "counts", "sizes", "other_sizes",
    "quarantined", "duplicate_sets", "conflicting_sets", "duplicates", "params", "hashes", "sha256",
)  # fmt: skip
"""What data/report.json holds at least."""


@dataclass(frozen=True)
class Samples:
    """samples.csv, and the published labels as targets: int64 (N,) or float32 (N, C)."""

    task: Task
    classes: tuple[str, ...]
    table: pd.DataFrame
    published: np.ndarray

    @property
    def ids(self) -> np.ndarray:
        """The sample ids, str (N,)."""
        return self.table["sample_id"].to_numpy(dtype=str)

    @property
    def groups(self) -> np.ndarray:
        """The group of each sample, str (N,)."""
        return self.table["group_id"].to_numpy(dtype=str)


@dataclass(frozen=True)
class Prepared:
    """Row i of every member speaks of row i of images.npy.

    `images`: uint8 (N, S, S, channels) memory map; `given`: the labels trained on; `published`: those of the source;
    both int64 (N,) or float32 (N, C). `split`: str (N,).
    """

    task: Task
    classes: tuple[str, ...]
    images: np.ndarray
    sample_ids: np.ndarray
    groups: np.ndarray
    split: np.ndarray
    given: np.ndarray
    published: np.ndarray

    def rows(self, split: str) -> np.ndarray:
        """The rows of one split, ascending, int64."""
        return np.flatnonzero(self.split == split)

    def targets(self, split: str) -> np.ndarray:
        """The labels a split is judged by: the given (noisy) ones, but the published ones for test."""
        return (self.published if split == "test" else self.given)[self.rows(split)]


class PreparedData:
    """The artefacts of prepare, split, noise and subsets, for trainings with the parameters that made them."""

    def __init__(self, layout: Layout, task: Task) -> None:
        self.digest: str = read_report(layout)["sha256"]
        self._layout = layout
        self._prepared = load_prepared(layout, task)
        self._members: dict[str, np.ndarray] | None = None

    def prepared(self, params: Params) -> Prepared:
        """The data of artifacts/."""
        return self._prepared

    def members(self, params: Params) -> dict[str, np.ndarray]:
        """Return {teacher: bool (N_train,)}: which training samples, in row order, each teacher saw."""
        if self._members is None:
            names = params.teacher_names("subset")
            table = read_csv(self._layout.subsets, names)
            self._members = {name: (table[name] == "1").to_numpy() for name in names}
        return self._members


def load_prepared(layout: Layout, task: Task) -> Prepared:
    """Load the artefacts of prepare, split and noise. Raises UserError for one that is missing or malformed."""
    samples = read_samples(layout, task)
    return Prepared(
        task=task,
        classes=samples.classes,
        images=open_images(layout),
        sample_ids=samples.ids,
        groups=samples.groups,
        split=read_split(layout),
        given=encode(read_csv(layout.labels, ["given"])["given"], samples.classes, task, origin=str(layout.labels)),
        published=samples.published,
    )


def read_samples(layout: Layout, task: Task) -> Samples:
    """Load the table of all prepared images. Raises UserError."""
    classes = tuple(read_report(layout)["classes"])
    _require_content(layout, layout.samples)
    table = read_csv(layout.samples, ["sample_id", "group_id", "label"])
    return Samples(task, classes, table, encode(table["label"], classes, task, origin=str(layout.samples)))


def read_split(layout: Layout) -> np.ndarray:
    """The split of each sample, str (N,)."""
    return read_csv(layout.splits, ["sample_id", "split"])["split"].to_numpy(dtype=str)


def open_images(layout: Layout) -> np.ndarray:
    """Map the prepared images, uint8 (N, S, S, channels). Raises UserError where they are damaged or missing."""
    _require_content(layout, layout.images)
    return np.load(layout.images, mmap_mode="r")


def _require_content(layout: Layout, path: Path) -> None:
    """Raise UserError unless a file of artifacts/data is the one that prepare wrote."""
    remedy = f"Delete {path.parent} and run make repro again, which restores it"
    require_content(path, read_report(layout)["hashes"][path.name], layout.compared, remedy)


def read_report(layout: Layout) -> dict[str, Any]:
    """Return data/report.json. Raises UserError where it is missing, cannot be read, or lacks a field."""
    path = layout.data_report
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        missing = [name for name in REPORT_FIELDS if name not in report]
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; prepare the data first (make repro)") from None
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{path}: cannot be read as JSON ({error}); run make repro again") from error
    if missing:
        raise UserError(f"{path}: has no field {', '.join(missing)}; run make repro again")
    return report
