"""Label noise that depends on the class alone: transition matrices, built in or read from a CSV (method, section 7).

presets/noise/lesion_confusion.csv holds directions of error for the eight lesion classes. They follow what dermoscopy
confuses (melanoma with naevus and keratosis; actinic keratosis, squamous and basal cell carcinoma with one another;
dermatofibroma and vascular lesions with naevus and basal cell carcinoma), but the numbers are a choice of ours: nobody
measured them.
"""

import csv
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.common.errors import UserError
from pipeline.params.tree import NoiseParams

TOLERANCE = 1e-6
"""How far a row of a matrix file may be from summing to 1."""


def nominal(params: NoiseParams, classes: Sequence[str]) -> np.ndarray | None:
    """Return T (C, C), T[i, j] = probability that published class i is given as class j; rows sum to 1.

    `symmetric` spreads the rate evenly over the *other* classes, so that the nominal rate is the realised one; `pair`
    moves it to the next class; `matrix` reads a file. None for the kinds that no matrix describes, `instance` and
    `flip`. Raises UserError for a matrix file that does not fit the classes.
    """
    C, rate = len(classes), params.rate
    stay = np.eye(C)
    if params.kind == "none":
        return stay
    if params.kind == "symmetric":
        return (1 - rate) * stay + rate * (1 - stay) / (C - 1)
    if params.kind == "pair":
        return (1 - rate) * stay + rate * np.roll(stay, 1, axis=1)
    if params.kind == "matrix":
        return scaled(read_matrix(Path(params.matrix), classes), rate)
    return None


def scaled(matrix: np.ndarray, rate: float) -> np.ndarray:
    """Return (1 - rate) I + rate Q for a matrix Q of directions, one whose whole diagonal is 0; any other as it is."""
    if np.diagonal(matrix).any():
        return matrix
    return (1 - rate) * np.eye(len(matrix)) + rate * matrix


def choose(probabilities: np.ndarray, uniforms: np.ndarray) -> np.ndarray:
    """Return int64 (N,): the class where row i's cumulative distribution passes uniforms[i].

    `probabilities`: (N, C), rows sum to 1; `uniforms`: (N,) in [0, 1).
    """
    cumulative = np.cumsum(probabilities, axis=1)
    cumulative[:, -1] = 1.0
    return (uniforms[:, None] >= cumulative).sum(axis=1)


def read_matrix(path: Path, classes: Sequence[str]) -> np.ndarray:
    """Return the matrix of a CSV as float64 (C, C) in the order of `classes`, rows summing to 1.

    The first column is headed `class` and names the rows, the others are headed by a class each; rows and columns may
    be in any order. Raises UserError that names the file, row, column and value of a mistake.
    """
    header, *rows = _cells(path)
    if header[0] != "class":
        raise UserError(f"{path}: the first column is headed {header[0]!r}; it should be 'class' and name the rows")
    _require_classes(path, "column", header[1:], classes, len(rows), len(header) - 1)
    _require_classes(path, "row", [row[0] for row in rows], classes, len(rows), len(header) - 1)
    found = {row[0]: _numbers(path, header, row) for row in rows}
    matrix = np.array([[found[given][column] for column in classes] for given in classes])
    for name, total in zip(classes, matrix.sum(axis=1).tolist(), strict=True):
        if abs(total - 1) > TOLERANCE:
            raise UserError(f"{path}: row {name!r} sums to {total:g}; each row must sum to 1 (within {TOLERANCE:g})")
    return matrix / matrix.sum(axis=1, keepdims=True)


def _cells(path: Path) -> list[list[str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            cells = [[cell.strip() for cell in row] for row in csv.reader(stream)]
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; noise.matrix in params.yaml should lead to it") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read as CSV: {error}") from error
    cells = [row for row in cells if any(row)]
    if len(cells) < 2:
        raise UserError(f"{path}: the matrix has no rows; it needs a header `class,...` and one row for each class")
    return cells


def _require_classes(path: Path, axis: str, names: list[str], classes: Sequence[str], rows: int, columns: int) -> None:
    """Raise UserError unless `names` are the classes, each once, in any order."""
    expected = f"the classes of the data are {', '.join(classes)}"
    for name in names:
        if name not in classes:
            raise UserError(f"{path}: {axis} {name!r} is not a class; {expected}")
        if names.count(name) > 1:
            raise UserError(f"{path}: {axis} {name!r} appears {names.count(name)} times; once is allowed")
    missing = [name for name in classes if name not in names]
    if missing:
        shape = f"{rows} rows and {columns} columns, so it is not square: " if rows != columns else ""
        raise UserError(f"{path}: {shape}no {axis} for {', '.join(missing)}; {expected}")


def _numbers(path: Path, header: list[str], row: list[str]) -> dict[str, float]:
    """The probabilities of one row by column; raises UserError that names row, column and value."""
    if len(row) != len(header):
        raise UserError(
            f"{path}: row {row[0]!r} has {len(row) - 1} numbers, but there are {len(header) - 1} columns; "
            "the matrix must be square"
        )
    numbers = {}
    for column, cell in zip(header[1:], row[1:], strict=True):
        try:
            numbers[column] = float(cell)
        except ValueError:
            numbers[column] = math.nan
        if not 0 <= numbers[column] <= 1:
            raise UserError(
                f"{path}: row {row[0]!r}, column {column!r} is {cell!r}; it must be a probability, a number in [0, 1]"
            )
    return numbers
