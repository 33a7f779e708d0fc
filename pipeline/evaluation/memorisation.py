"""Is a network trained, and does it repeat wrong labels? Pure functions on its training curve and its answers."""

from collections.abc import Sequence

import numpy as np

from models.names import Task
from pipeline.common.labels import indicator

TRAINING_COLUMNS = ("seed", "network", "pool", "metric", "value")
"""The columns of metrics/training.csv; `pool` is empty for students."""
FALLS = 0.02
"""A training loss that fell by more than this share an epoch at its end still falls."""
PLACES = ("", "_seen", "_unseen")
"""All training samples, those a teacher was trained on, and the others."""


def agreement(
    task: Task, logits: np.ndarray, given: np.ndarray, published: np.ndarray, seen: np.ndarray | None = None
) -> dict[str, float]:
    """Return how often a network's answer is the given label: `clean` where that is the published one, else `changed`.

    `logits`: (N, C); `given`, `published`: (N,) or (N, C); `seen`: bool (N,), which samples a teacher trained on, and
    then `clean_seen`, `clean_unseen` and so on are there, too. multiclass: share of samples. multilabel: share of given
    findings that are called at a probability of 0.5; those that noise took away are not counted, since a network that
    calls nothing would repeat them all. What has no sample is left out.
    """
    given, published = (indicator(labels, logits.shape[1]) for labels in (given, published))
    called = indicator(logits.argmax(axis=1), logits.shape[1]) if task == "multiclass" else logits > 0
    rows = {"": np.ones(len(logits), dtype=bool)}
    if seen is not None:
        rows |= {"_seen": seen, "_unseen": ~seen}
    shares = {}
    for labels, cells in (("clean", given & published), ("changed", given & ~published)):
        for place, chosen in rows.items():
            if cells[chosen].any():
                shares[f"{labels}{place}"] = float(called[chosen][cells[chosen]].mean())
    return shares


def fall(losses: Sequence[float]) -> float:
    """Return by what share of itself the training loss fell in each of the last epochs (a tenth of all, at least one).

    0 for a single epoch; negative where it rose.
    """
    last = max(1, len(losses) // 10)
    if len(losses) <= last:
        return 0.0
    return (losses[-1 - last] - losses[-1]) / abs(losses[-1 - last]) / last
