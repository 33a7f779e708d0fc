"""Deal groups into bins so that every bin gets every class: a stratified deal, then repairs for rare classes."""

import numpy as np

from pipeline.common.seeds import stream
from pipeline.data.stratify import deal, integer_sizes

ATTEMPTS = 20


def spread(labels: np.ndarray, groups: np.ndarray, shares: np.ndarray, seed: int, at_least: int = 1) -> np.ndarray:
    """Return the bin of each sample, int64 (N,): `shares` (B,) of the samples in each, groups kept whole.

    `labels`: bool (N, C); `groups`: int (N,) in 0..G-1. The first of several deals that places `at_least` groups of
    every label in every bin, where there are enough of them; otherwise the last one, whose gaps the caller reports.
    """
    sizes = integer_sizes(shares, len(labels))
    has = _labels_of_groups(labels, groups)
    order = np.argsort(labels.sum(axis=0), kind="stable")
    group_bin = np.zeros(len(has), dtype=np.int64)
    for attempt in range(ATTEMPTS):
        rng = stream(seed, "splits", attempt)
        group_bin[groups] = deal(labels, groups, sizes, rng)
        for label in order:
            _place_missing(group_bin, has, int(label), len(sizes), at_least, rng)
        if all((has[group_bin == wanted].sum(axis=0) >= at_least).all() for wanted in range(len(sizes))):
            break
    return group_bin[groups]


def _labels_of_groups(labels: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """bool (G, C): True where any sample of the group has the label."""
    has = np.zeros((int(groups.max()) + 1, labels.shape[1]), dtype=bool)
    rows, columns = np.nonzero(labels)
    has[groups[rows], columns] = True
    return has


def _place_missing(
    group_bin: np.ndarray, has: np.ndarray, label: int, num_bins: int, at_least: int, rng: np.random.Generator
) -> None:
    """Move groups of a label into bins that lack it, in place, from the bin with most groups of that label.

    A group whose other labels the giver can spare goes first.
    """
    holders = np.flatnonzero(has[:, label])
    for wanted in range(num_bins):
        while (count := np.bincount(group_bin[holders], minlength=num_bins))[wanted] < at_least:
            giver = int(count.argmax())
            if count[giver] <= at_least:
                return
            candidates = holders[group_bin[holders] == giver]
            scarce = has[group_bin == giver].sum(axis=0) <= at_least
            spared = candidates[~(has[candidates] & scarce).any(axis=1)]
            group_bin[rng.choice(spared if len(spared) else candidates)] = wanted
