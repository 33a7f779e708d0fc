"""Deal groups of samples into bins of given sizes so that every bin keeps the class proportions.

Iterative stratification (Sechidis et al. 2011) over whole groups: rarest label first, each group to the bin that misses
that label most. The published packages ignore groups and hit sizes only in the mean; here a group stays whole, and
with groups of one sample the sizes are met exactly.
"""

import numpy as np


def deal(labels: np.ndarray, groups: np.ndarray, sizes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the bin of each sample, int64 (N,).

    `labels`: bool (N, C), a row may be all False. `groups`: int (N,) in 0..G-1, samples of one group stay together.
    `sizes`: int (B,) samples wanted in each bin, sum N. Bins are exact where all groups have one sample, otherwise
    within the largest group's size. Classes are spread over the bins in proportion to `sizes`.
    """
    labels = np.column_stack([labels, ~labels.any(axis=1)]).astype(np.int64)
    weights = np.bincount(groups)
    counts = np.zeros((len(weights), labels.shape[1]), dtype=np.int64)
    np.add.at(counts, groups, labels)
    share = sizes / max(sizes.sum(), 1)
    missing = counts.sum(axis=0)[:, None] * share  # (C + 1, B): samples of a label that a bin still wants
    room = sizes.astype(np.float64).copy()
    assigned = np.full(len(weights), -1)
    for label in _rarest_first(counts):
        members = np.flatnonzero((assigned < 0) & (counts[:, label] > 0))
        members = rng.permutation(members)
        for group in members[np.argsort(-weights[members], kind="stable")]:
            assigned[group] = _best_bin(missing[label], room, int(weights[group]), rng)
            missing[:, assigned[group]] -= counts[group]
            room[assigned[group]] -= weights[group]
    return assigned[groups]


def _rarest_first(counts: np.ndarray) -> np.ndarray:
    """Labels by the number of groups that have them, rarest first; "no label" (the last) comes last."""
    groups_with = (counts > 0).sum(axis=0)
    return np.append(np.argsort(groups_with[:-1], kind="stable"), counts.shape[1] - 1)


def _best_bin(missing: np.ndarray, room: np.ndarray, weight: int, rng: np.random.Generator) -> int:
    """The bin that misses the label most among those with room; ties by room, then by chance."""
    fits = room >= weight
    if not fits.any():
        fits = room == room.max()
    order = np.lexsort((rng.random(len(room)), -room, -missing, ~fits))
    return int(order[0])


def integer_sizes(shares: np.ndarray, total: int) -> np.ndarray:
    """Round `shares` (B,), which sum to 1, to integer sizes that sum to `total` (largest remainder)."""
    exact = shares * total
    sizes = np.floor(exact + 1e-9).astype(np.int64)
    short = total - sizes.sum()
    sizes[np.argsort(-(exact - sizes), kind="stable")[:short]] += 1
    return sizes
