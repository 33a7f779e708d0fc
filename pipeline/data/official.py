"""The source's own split: an official test list, or a column that names train, val and test."""

import numpy as np
import pandas as pd

from pipeline.common.errors import UserError

REST = "rest"
"""Not in the test list: train and val are still to be cut from it."""


def official_split(samples: pd.DataFrame) -> np.ndarray:
    """Return train, val, test (or rest and test, where the source names no val) for each sample, str (N,).

    `samples`: columns sample_id, group_id and source_split. Raises UserError that names the sample of an unknown value,
    a split that nobody is in, or a group in two splits.
    """
    if "source_split" not in samples.columns:
        raise UserError(
            "split.official is true, but the data has neither a test list nor a split column; set split.official: false"
        )
    named = samples["source_split"].to_numpy(dtype=str)
    whole = bool((named == "val").any())
    _require_known(samples["sample_id"].to_numpy(dtype=str), named, whole)
    split = named if whole else np.where(named == "test", "test", REST)
    for name in ("train", "val", "test") if whole else ("test", REST):
        if not (split == name).any():
            raise UserError(
                f"split.official is true, but no sample is in split {'train' if name == REST else name}; the values "
                f"met are {', '.join(map(repr, np.unique(named).tolist()))}. Correct the split column or test list, "
                "or set split.official: false"
            )
    _require_whole_groups(samples["group_id"].to_numpy(dtype=str), named, split)
    return split


def _require_known(sample_ids: np.ndarray, named: np.ndarray, whole: bool) -> None:
    """Beside val only train and test are known; without val, whatever is not blank or a misspelt test or val."""
    for value in np.unique(named).tolist():
        word = value.strip().lower()
        misspelt = not word or word.startswith(("test", "val", "dev"))
        if value in ("train", "val", "test") or not (whole or misspelt):
            continue
        sample = sample_ids[np.flatnonzero(named == value)[0]]
        raise UserError(
            f"split.official: sample {str(sample)!r}: unknown split {value!r}; the splits are train, val (may be "
            "absent) and test. Correct the split column, or set split.official: false"
        )


def _require_whole_groups(groups: np.ndarray, named: np.ndarray, split: np.ndarray) -> None:
    table = pd.DataFrame({"group": groups, "named": named, "split": split})
    met = table.groupby("group", sort=False)["split"].nunique()
    crossing = met.index[met > 1]
    if len(crossing):
        own = np.unique(named[groups == crossing[0]]).tolist()
        raise UserError(
            f"split.official: group {crossing[0]!r} is in two splits: {' and '.join(own)} (such groups: "
            f"{len(crossing)}); all images of a patient or lesion belong in one. Correct the list, or set "
            "split.official: false"
        )
