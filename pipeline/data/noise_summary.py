"""What the noise did, for people and for the report: transition counts, or the rates of missed and false findings."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from pipeline.params.tree import NoiseParams

WIDEST = 20
"""A transition table of more classes than this is not printed; noise.json has it."""


def summarise(
    noisy: np.ndarray, published: np.ndarray, classes: Sequence[str], params: NoiseParams, nominal: np.ndarray | None
) -> dict[str, Any]:
    """Return the JSON-able part of noise.json on realised and nominal noise of the rows given.

    `noisy`, `published`: labels before corrections of train and val alone, (N,) or (N, C). For `multiclass`: `classes`,
    `transition` (counts, rows published, columns given) and `nominal` (a matrix, or None for `instance`); for
    `multilabel`: `classes`, `per_class` (realised, a rate is None where no label could change) and `nominal` rates.
    """
    if noisy.ndim == 1:
        return {
            "classes": list(classes),
            "transition": transition_counts(noisy, published, len(classes)).tolist(),
            "nominal": None if nominal is None else nominal.round(12).tolist(),
        }
    miss_rate, false_rate = (params.miss_rate, params.false_rate) if params.kind == "flip" else (0.0, 0.0)
    return {
        "classes": list(classes),
        "per_class": {name: _finding(noisy[:, c], published[:, c]) for c, name in enumerate(classes)},
        "nominal": {"miss_rate": miss_rate, "false_rate": false_rate},
    }


def transition_counts(noisy: np.ndarray, published: np.ndarray, num_classes: int) -> np.ndarray:
    """Return int64 (C, C): samples of published class i that are given as class j."""
    pairs = published.astype(np.int64) * num_classes + noisy
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def _finding(noisy: np.ndarray, published: np.ndarray) -> dict[str, Any]:
    present, absent = published > 0, published == 0
    missed, false = np.count_nonzero(noisy[present] == 0), np.count_nonzero(noisy[absent] > 0)
    return {
        "present": int(present.sum()),
        "missed": int(missed),
        "miss_rate": float(missed / present.sum()) if present.any() else None,
        "absent": int(absent.sum()),
        "false": int(false),
        "false_rate": float(false / absent.sum()) if absent.any() else None,
    }


def table(summary: dict[str, Any]) -> str:
    """Return the realised noise as text: per cent of each published class (row) given as each class (column)."""
    if "per_class" in summary:
        rows = pd.DataFrame.from_dict(summary["per_class"], orient="index").astype(object)
        for rate in ("miss_rate", "false_rate"):
            rows[rate] = ["" if value is None else f"{value:.1%}" for value in rows[rate]]
        return "label noise by finding, train and val:\n" + rows.to_string()
    classes, counts = summary["classes"], np.array(summary["transition"])
    if len(classes) > WIDEST:
        return f"label noise by class: {len(classes)} x {len(classes)} counts"
    share = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    rows = pd.DataFrame(share, index=pd.Index(classes), columns=pd.Index(classes)).map(
        lambda value: f"{value:.1f}" if value else "."
    )
    rows.insert(0, "samples", counts.sum(axis=1), allow_duplicates=True)
    return "label noise, train and val: % of a published class (row) given as a class (column):\n" + rows.to_string()
