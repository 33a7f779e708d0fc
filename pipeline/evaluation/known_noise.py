"""How good the orders of doubt in the audit's table are, where noise was injected and wrong labels are known."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from pipeline.evaluation.orders import average_precision, curve, figures

PRECISION_AT = (50, 100, 200)
SIGNS = {"score": -1, "self_confidence": -1, "aum": -1, "disagreed": 1, "loss": 1}
"""The columns that order labels, and 1 where a large value is doubtful."""
ORDER_COLUMNS = ("order", "checked", "precision", "recall")
"""The columns of audit/orders.csv."""


def known(table: pd.DataFrame, wrong: np.ndarray) -> dict[str, Any]:
    """Return figures of our order, of it for each class, and of the others on the training split.

    `table`: suspects.csv; `wrong`: bool, which of its rows noise changed, at least one.
    """
    doubt = _doubt(table, "score")
    found = figures(doubt, wrong, PRECISION_AT)
    of = table["finding" if "finding" in table else "given"].to_numpy()
    found["per_class"] = {
        str(name): {
            "wrong": int(wrong[of == name].sum()),
            "average_precision": average_precision(doubt[of == name], wrong[of == name]),
            "random": float(wrong[of == name].mean()),
        }
        for name in sorted(set(of))
        if wrong[of == name].any()
    }
    comparable = _comparable(table)
    if "aum" in table and wrong[comparable].any():
        found["on_train"] = {
            name: average_precision(_doubt(table, name)[comparable], wrong[comparable]) for name in _signals(table)
        }
        found["on_train"]["random"] = float(wrong[comparable].mean())
    return found


def curves(table: pd.DataFrame, wrong: np.ndarray) -> Iterator[tuple[str, int, float, float]]:
    """Yield rows of orders.csv, for labels that every signal speaks of; none where no wrong label is known."""
    comparable = _comparable(table)
    for name in _signals(table):
        for point in curve(_doubt(table, name)[comparable], wrong[comparable]):
            yield name, *point


def _signals(table: pd.DataFrame) -> list[str]:
    return [name for name in SIGNS if name in table]


def _doubt(table: pd.DataFrame, name: str) -> np.ndarray:
    return SIGNS[name] * table[name].to_numpy(dtype=float)


def _comparable(table: pd.DataFrame) -> np.ndarray:
    """Which rows every signal speaks of: the training split, where the plain student has margins; else all."""
    return table[_signals(table)].notna().all(axis=1).to_numpy()
