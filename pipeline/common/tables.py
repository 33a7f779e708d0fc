"""Tables as text: what is read is what was written, and a malformed table is reported with file, row and column."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.common.errors import UserError
from pipeline.common.files import atomic


def read_csv(path: Path, columns: Sequence[str] = ()) -> pd.DataFrame:
    """Read a CSV with every cell as text; an empty cell is the empty string.

    Raises UserError where the file is missing, cannot be read, or lacks one of `columns`.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; a file of artifacts/ is written by make repro") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as CSV: {error}") from error
    if not isinstance(table.index, pd.RangeIndex):  # pandas takes surplus cells at the front for row names
        raise UserError(f"{path}: its rows have more cells than the first line has columns; take the surplus out")
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise UserError(f"{path}: has no column {', '.join(missing)}; run make repro to write it again")
    return table


def read_table(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Read a CSV as text; raises UserError if it is missing, unreadable, empty or lacks one of `columns`."""
    if not path.exists():
        raise UserError(f"{path}: no such file; data.path (or data.corrections) in params.yaml should lead to it")
    table = read_csv(path)
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise UserError(f"{path}: no column {', '.join(missing)}; it has {', '.join(map(str, table.columns))}")
    if table.empty:
        raise UserError(f"{path}: the table has no rows")
    return table


def write_csv(path: Path, rows: pd.DataFrame | Sequence[Any], columns: Sequence[str] | None = None) -> None:
    """Write a table, or rows of one, which appears whole or not at all; `columns` stand there without rows, too."""
    table = pd.DataFrame(rows, columns=None if columns is None else list(columns))
    with atomic(path) as temporary:
        table.to_csv(temporary, index=False)


def require_unique(ids: pd.Series, path: Path, column: str) -> None:
    """Raise UserError that names the first duplicated identifier."""
    doubled = ids[ids.duplicated()]
    if len(doubled):
        row = int(doubled.index[0]) + 1
        raise UserError(f"{path}: data row {row}, column {column}: {doubled.iloc[0]!r} is duplicated")
