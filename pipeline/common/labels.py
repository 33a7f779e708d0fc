"""Labels as text in the tables and as arrays in the computations."""

from collections.abc import Iterable, Sequence

import numpy as np

from models.names import Task
from pipeline.common.errors import UserError

SEPARATOR = "|"
"""Joins several findings in one cell; no finding at all is the empty cell."""


def encode(cells: Iterable[str], classes: Sequence[str], task: Task, *, origin: str) -> np.ndarray:
    """Turn label cells into targets.

    Returns int64 (N,) class indices for `multiclass`, float32 (N, C) of 0 and 1 for `multilabel`. `origin` names the
    file in messages. Raises UserError that names the row and the label if one is not among `classes`.
    """
    index = {name: position for position, name in enumerate(classes)}
    rows = [cell.split(SEPARATOR) if cell else [] for cell in cells]
    for number, names in enumerate(rows):
        unknown = [name for name in names if name not in index]
        if unknown or (task == "multiclass" and len(names) != 1):
            problem = f"unknown class {unknown[0]!r}" if unknown else f"{len(names)} classes, exactly 1 is needed"
            raise UserError(f"{origin}: data row {number + 1}: {problem}; the classes are {', '.join(classes)}")
    if task == "multiclass":
        return np.array([index[names[0]] for names in rows], dtype=np.int64)
    targets = np.zeros((len(rows), len(classes)), dtype=np.float32)
    for number, names in enumerate(rows):
        targets[number, [index[name] for name in names]] = 1
    return targets


def decode(targets: np.ndarray, classes: Sequence[str]) -> list[str]:
    """Turn targets, int (N,) or 0/1 (N, C), back into label cells."""
    if targets.ndim == 1:
        return [classes[int(index)] for index in targets]
    return [SEPARATOR.join(np.asarray(classes)[row > 0]) for row in targets]


def indicator(targets: np.ndarray, num_classes: int) -> np.ndarray:
    """Return targets of either task as bool (N, C)."""
    return np.eye(num_classes, dtype=bool)[targets] if targets.ndim == 1 else targets > 0
