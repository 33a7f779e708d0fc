"""The nearest of many vectors, by cosine similarity."""

import numpy as np


def nearest(
    queries: np.ndarray, known: np.ndarray, k: int, *, leave_out_self: bool = False, block: int = 1024
) -> tuple[np.ndarray, np.ndarray]:
    """Return the largest k cosine similarities of each query and whose they are, (Q, k) each, in no order.

    Rows of both have length 1. `leave_out_self`: query i is not compared with known i.
    """
    similarities, places = [], []
    for start in range(0, len(queries), block):
        found = queries[start : start + block] @ known.T
        if leave_out_self:
            own = np.arange(len(found))
            found[own, start + own] = -np.inf
        chosen = np.argpartition(-found, k - 1, axis=1)[:, :k]
        similarities.append(np.take_along_axis(found, chosen, axis=1))
        places.append(chosen)
    return np.concatenate(similarities), np.concatenate(places)
