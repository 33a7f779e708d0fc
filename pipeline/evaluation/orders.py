"""How good an order of doubt is, where it is known which labels are wrong."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

POINTS = 60
"""So many numbers of checked labels a curve has at most."""


def average_precision(doubt: np.ndarray, wrong: np.ndarray) -> float:
    """Return the area under precision over recall of `wrong`, bool (N,), in the order of `doubt`, the largest first.

    The mean of the precision at each wrong label; NaN where none is wrong. Equal doubts count as one step.
    """
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(wrong, doubt)) if wrong.any() else float("nan")


def precision_at(doubt: np.ndarray, wrong: np.ndarray, k: int) -> float:
    """Return the share of wrong labels among the k most doubtful."""
    return float(wrong[np.argsort(-doubt, kind="stable")[:k]].mean())


def curve(doubt: np.ndarray, wrong: np.ndarray) -> Iterator[tuple[int, float, float]]:
    """Yield (k, precision, recall): of the k most doubtful labels the share that is wrong, and of the wrong ones found.

    The numbers k are spread evenly on a logarithmic scale, from 1 to N. Nothing where no label is wrong.
    """
    if not wrong.any():
        return
    found = np.cumsum(wrong[np.argsort(-doubt, kind="stable")])
    for k in np.unique(np.geomspace(1, len(wrong), POINTS).round().astype(int)):
        yield int(k), float(found[k - 1] / k), float(found[k - 1] / found[-1])


def figures(doubt: np.ndarray, wrong: np.ndarray, ks: Sequence[int]) -> dict[str, Any]:
    """Return how many labels are wrong, and the average precision of an order, of a random one, and precision at k."""
    return {
        "wrong": int(wrong.sum()),
        "average_precision": average_precision(doubt, wrong),
        "random": float(wrong.mean()),
        "precision_at": {str(k): precision_at(doubt, wrong, k) for k in ks if k <= len(wrong)},
    }
