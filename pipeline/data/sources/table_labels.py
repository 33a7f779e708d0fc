"""The labels of a table in its three forms: one class, several findings in one cell, or a 0/1 column for each."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from models.names import Task
from pipeline.common.class_names import require_class_names
from pipeline.common.errors import UserError
from pipeline.common.labels import SEPARATOR
from pipeline.params.data import TableParams

MISSING = frozenset({"", "na", "nan", "<na>", "null"})
"""What programs write for a value that is not there, in small letters."""


def is_missing(cell: str) -> bool:
    """True for a cell without a value."""
    return cell.strip().lower() in MISSING


def read_labels(table: pd.DataFrame, columns: TableParams, task: Task, path: Path) -> tuple[list[str], tuple[str, ...]]:
    """Return the label of each row, findings joined by `|` in the order of the classes, and the classes.

    Raises UserError that names row, column and value for a label that is missing, unknown or not 0/1.
    """
    _require_form(columns, task)
    if isinstance(columns.label, str):
        if columns.classes is not None:
            require_class_names(columns.classes, "data.table.classes", listed=True)
        rows = _from_cells(table[columns.label], columns.label, columns, path)
        classes = columns.classes or tuple(sorted({name for names in rows for name in names}))
        require_class_names(classes, f"{path}: column {columns.label}", listed=columns.classes is not None)
    else:
        classes = columns.classes or columns.label
        require_class_names(classes, "data.table.label", listed=True)
        rows = _from_indicators(table, columns.label, task, path)
    place = {name: position for position, name in enumerate(classes)}
    return [SEPARATOR.join(sorted(names, key=place.__getitem__)) for names in rows], classes


def _require_form(columns: TableParams, task: Task) -> None:
    """Raise UserError unless label, separator, classes and task say one and the same."""
    label, separator = columns.label, columns.separator
    if isinstance(label, str):
        if task == "multilabel" and separator is None:
            raise UserError(
                f"task is multilabel and data.table.label is one column, {label!r}: set data.table.separator to what "
                "joins its findings, or list 0/1 columns, label: [Mass, Effusion]"
            )
        if task == "multiclass" and separator is not None:
            raise UserError(
                f"data.table.separator is {separator!r}, but task is multiclass, one class per image; "
                "set the separator to null, or task to multilabel"
            )
        return
    if separator is not None:
        raise UserError(
            f"data.table.separator is {separator!r}, but data.table.label lists 0/1 columns, which need none; "
            "set it to null"
        )
    if len(set(label)) < len(label):
        raise UserError(f"data.table.label is {list(label)}; the columns must be unique")
    if columns.classes is not None and sorted(columns.classes) != sorted(label):
        raise UserError(
            f"data.table.classes is {list(columns.classes)}, but data.table.label lists the columns {list(label)}; "
            "the names must be the same, or set classes to null"
        )


def _from_cells(cells: pd.Series, column: str, columns: TableParams, path: Path) -> list[set[str]]:
    """The names in each cell: exactly one without a separator, any number with one."""
    known, separator = set(columns.classes or ()), columns.separator
    rows = []
    for row, cell in enumerate(cells, 1):
        parts = cell.split(separator) if separator else [cell]
        names = [part.strip() for part in parts if part.strip() or not separator]
        for name in names:
            if known and name in known:
                continue
            here = f"{path}: data row {row}, column {column}: "
            blank = "; an empty cell is an image without finding" if separator else ""
            if is_missing(name):
                raise UserError(f"{here}{name!r} is no label; give every image one, or take the row out{blank}")
            if known:
                raise UserError(
                    f"{here}unknown label {name!r}; data.table.classes allows {', '.join(columns.classes or ())}{blank}"
                )
        rows.append(set(names))
    return rows


def _from_indicators(table: pd.DataFrame, labels: Sequence[str], task: Task, path: Path) -> list[set[str]]:
    """The columns that are 1 in each row; for `multiclass` exactly one."""
    bools = {"true": "1", "false": "0"}
    texts = [table[name].str.strip() for name in labels]
    values = np.stack(
        [pd.to_numeric(text.str.lower().replace(bools), errors="coerce").to_numpy(float) for text in texts], axis=1
    )  # (N, C)
    bad = np.argwhere(~np.isin(values, (0, 1)))
    if len(bad):
        row, c = bad[0].tolist()
        raise UserError(
            f"{path}: data row {row + 1}, column {labels[c]}: {texts[c].iloc[row]!r} is neither 0 nor 1; "
            "every cell of the columns of data.table.label is one of these"
        )
    several = np.flatnonzero(values.sum(axis=1) != 1)
    if task == "multiclass" and len(several):
        row = int(several[0])
        raise UserError(
            f"{path}: data row {row + 1}: {int(values[row].sum())} of the columns {', '.join(labels)} are 1; for task "
            "multiclass exactly one must be. Correct the row, or set task to multilabel"
        )
    return [{labels[c] for c in np.flatnonzero(row).tolist()} for row in values]
