"""Is a network trained, and does it repeat wrong labels? Pure functions on its training curve and its answers."""

from collections.abc import Sequence

import numpy as np

from models.names import Task
from pipeline.common.labels import indicator

TRAINING_COLUMNS = ("seed", "network", "pool", "metric", "value")
"""The columns of metrics/training.csv; `pool` is empty for students."""
FALLS = 0.02
"""A training loss that fell by more than this share of its whole way in each of the last epochs still falls."""


def agreement(
    task: Task,
    logits: np.ndarray,
    given: np.ndarray,
    published: np.ndarray,
    flipped: np.ndarray,
    seen: np.ndarray | None = None,
) -> dict[str, float]:
    """Return how often a network's answer is the given label: `clean` where that is the published one, `changed` where
    noise changed it, and `chance`, how often one that has memorised nothing would repeat a changed one.

    `logits`: (N, C); `given`, `published`: (N,) or (N, C); `flipped`: bool (N,), where noise changed the label (a
    person's correction is none); `seen`: bool (N,), which samples a teacher trained on, and then `clean_seen`,
    `clean_unseen` and so on are there, too. What has no sample is left out.

    multiclass: shares of samples; chance is that its wrong answers fall evenly on the other classes. multilabel: shares
    of given findings that are called at a probability of 0.5; those that noise took away are not counted, since a
    network that calls nothing would repeat them all. Chance is how often absent findings are called.
    """
    C = logits.shape[1]
    given, published = (indicator(labels, C) for labels in (given, published))
    called = indicator(logits.argmax(axis=1), C) if task == "multiclass" else logits > 0
    rows = {"": np.ones(len(logits), dtype=bool)}
    if seen is not None:
        rows |= {"_seen": seen, "_unseen": ~seen}
    shares = {}
    for labels, cells in (("clean", given & published), ("changed", given & ~published & flipped[:, None])):
        for place, chosen in rows.items():
            if cells[chosen].any():
                shares[f"{labels}{place}"] = float(called[chosen][cells[chosen]].mean())
    absent = ~given & ~published
    if task == "multilabel" and absent.any():
        shares["chance"] = float(called[absent].mean())
    elif task == "multiclass" and "clean" in shares:
        shares["chance"] = (1 - shares["clean"]) / (C - 1)
    return shares


def fall(losses: Sequence[float]) -> float:
    """Return by what share of its whole way down the training loss fell in each of the last epochs.

    These are a tenth of all, at least one. 0 where the loss did not fall at all; negative where it rose in the end.
    """
    last = max(1, len(losses) // 10)
    way = losses[0] - losses[-1]
    return (losses[-1 - last] - losses[-1]) / way / last if len(losses) > last and way > 0 else 0.0
