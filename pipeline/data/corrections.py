"""The corrections file: labels that a person has looked at again override the published ones for training."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from models.names import Task
from pipeline.common.errors import UserError
from pipeline.common.labels import encode
from pipeline.common.tables import read_table, require_unique


def read_corrections(path: Path, classes: Sequence[str], task: Task) -> tuple[pd.Series, np.ndarray]:
    """Return the sample ids and their corrected targets; both are empty for a file without rows.

    Raises UserError for a missing file or column, an unknown class or a sample named twice; names row and value.
    """
    try:
        table = read_table(path, ["sample_id", "label"])
    except UserError as error:
        if not str(error).endswith("has no rows"):
            raise
        table = pd.DataFrame({"sample_id": [], "label": []}, dtype=str)
    require_unique(table["sample_id"], path, "sample_id")
    return table["sample_id"], encode(table["label"], classes, task, origin=f"{path}, column label")


def correct(
    given: np.ndarray, sample_ids: np.ndarray, split: np.ndarray, corrections: tuple[pd.Series, np.ndarray], path: Path
) -> tuple[np.ndarray, np.ndarray]:
    """Return the given labels with the corrections laid over them, and bool (N,), True where one was.

    Raises UserError for a sample that is unknown or belongs to the test split, whose labels stay as published.
    """
    ids, targets = corrections
    place = {name: row for row, name in enumerate(sample_ids)}
    given, corrected = given.copy(), np.zeros(len(given), dtype=bool)
    for number, name in enumerate(ids):
        if name not in place:
            raise UserError(
                f"{path}: data row {number + 1}, column sample_id: no sample {name!r} in the data; take the row out "
                "(an image that cannot be read is no sample: artifacts/data/report.json lists those)"
            )
        row = place[name]
        if split[row] == "test":
            raise UserError(
                f"{path}: data row {number + 1}, column sample_id: sample {name!r} is in the test split, whose labels "
                "stay as published; take the row out"
            )
        given[row] = targets[number]
        corrected[row] = True
    return given, corrected
