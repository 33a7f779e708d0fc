"""Exact duplicates: images with the same prepared pixels that pass for different lesions or patients."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

LISTED_SETS, LISTED_SAMPLES = 100, 100


@dataclass(frozen=True)
class Duplicates:
    """`sets`: how many sets of equal images are in different groups; `conflicting`: in how many of them labels differ.

    `listed`: the first LISTED_SETS of them, conflicting ones first, as report.json lists them; each lists its first
    LISTED_SAMPLES samples with their groups and labels, `images` counts all.
    """

    sets: int
    conflicting: int
    listed: list[dict[str, Any]]


def across_groups(samples: pd.DataFrame, hashes: np.ndarray) -> Duplicates:
    """Find samples with the same hash, (N,), in different groups. `samples`: columns sample_id, group_id, label."""
    inverse, counts = np.unique(hashes, return_inverse=True, return_counts=True)[1:]
    rows = np.flatnonzero(counts[inverse] > 1)
    table = samples[["sample_id", "group_id", "label"]].iloc[rows]
    found = [members for _, members in table.groupby(inverse[rows], sort=False) if members["group_id"].nunique() > 1]
    found.sort(key=lambda members: members["label"].nunique() == 1)  # stable: the order of the table otherwise
    conflicting = sum(members["label"].nunique() > 1 for members in found)
    return Duplicates(len(found), conflicting, [_listed(members) for members in found[:LISTED_SETS]])


def _listed(members: pd.DataFrame) -> dict[str, Any]:
    shown = members.iloc[:LISTED_SAMPLES]
    return {
        "images": len(members),
        "samples": shown["sample_id"].tolist(),
        "groups": shown["group_id"].tolist(),
        "labels": shown["label"].tolist(),
        "conflicting": members["label"].nunique() > 1,
    }
