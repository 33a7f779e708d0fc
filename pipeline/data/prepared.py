"""The prepared data as the stages after it see it: images, splits and labels, row by row."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.common import layout as artifacts
from pipeline.common.labels import encode
from pipeline.common.tables import read_csv
from pipeline.params.tree import Task


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


def load_prepared(task: Task) -> Prepared:
    """Load the artefacts of prepare, split and noise."""
    samples = read_csv(artifacts.SAMPLES)
    splits = read_csv(artifacts.SPLITS)
    labels = read_csv(artifacts.LABELS)
    classes = read_classes()
    return Prepared(
        task=task,
        classes=classes,
        images=np.load(artifacts.IMAGES, mmap_mode="r"),
        sample_ids=samples["sample_id"].to_numpy(dtype=str),
        groups=samples["group_id"].to_numpy(dtype=str),
        split=splits["split"].to_numpy(dtype=str),
        given=encode(labels["given"], classes, task, origin=str(artifacts.LABELS)),
        published=encode(labels["published"], classes, task, origin=str(artifacts.LABELS)),
    )


def read_classes(path: Path = artifacts.DATA_REPORT) -> tuple[str, ...]:
    """The class names of the prepared data, in the order of the networks' outputs."""
    return tuple(json.loads(path.read_text(encoding="utf-8"))["classes"])


def read_data_hash(path: Path = artifacts.DATA_REPORT) -> str:
    """The SHA-256 of the prepared images and their table."""
    return json.loads(path.read_text(encoding="utf-8"))["sha256"]


def read_membership(path: Path = artifacts.SUBSETS) -> dict[str, np.ndarray]:
    """Return {architecture: bool (N_train,)}: which training samples, in row order, each teacher saw."""
    table = read_csv(path)
    return {name: (table[name] == "1").to_numpy() for name in table.columns if name != "sample_id"}
