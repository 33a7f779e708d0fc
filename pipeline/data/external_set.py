"""The external test set as stage `external` wrote it: its report, and the images that answers can be held against."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.names import Task
from pipeline.common.errors import UserError
from pipeline.common.labels import SEPARATOR
from pipeline.common.layout import Layout
from pipeline.common.tables import read_csv


@dataclass(frozen=True)
class External:
    """The external images that can be judged, row by row.

    `images`: uint8 (M, S, S, channels); `targets`: places among our own classes, int64 (M,), or 0/1 float32
    (M, len(shared)), one column for each shared class; `groups`: str (M,).
    """

    images: np.ndarray
    targets: np.ndarray
    groups: np.ndarray
    shared: tuple[str, ...]


def load_external(layout: Layout, task: Task, classes: Sequence[str]) -> External | None:
    """Load what stage `external` wrote, without the images whose one class we do not know; None without a table.

    Raises UserError where a file is missing.
    """
    report = read_external_report(layout)
    if report is None:
        return None
    samples = read_csv(layout.external_samples, ["sample_id", "group_id", "label"])
    shared = tuple(report["shared"])
    labels = [cell.split(SEPARATOR) for cell in samples["label"]]
    images, groups = np.load(layout.external_images, mmap_mode="r"), samples["group_id"].to_numpy(dtype=str)
    if task == "multilabel":
        targets = np.array([[name in names for name in shared] for names in labels], dtype=np.float32)
        return External(images, targets, groups, shared)
    place = {name: number for number, name in enumerate(classes)}
    kept = np.array([names[0] in place for names in labels])
    targets = np.array([place[names[0]] for names, keep in zip(labels, kept, strict=True) if keep], dtype=np.int64)
    return External(images[kept], targets, groups[kept], shared)


def read_external_report(layout: Layout) -> dict[str, Any] | None:
    """Return external/report.json; None where no external table was given. Raises UserError where it is missing."""
    path = layout.external_report
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); run make repro, which writes it") from error
    return report if report["table"] is not None else None
