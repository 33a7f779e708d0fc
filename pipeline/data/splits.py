"""Train, validation and test by group, stratified by label (method, section 8)."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from pipeline.data.stratify import deal, integer_sizes
from pipeline.errors import UserError
from pipeline.labels import indicator
from pipeline.params import SplitParams

SPLITS = ("train", "val", "test")
ATTEMPTS = 100


def assign(samples: pd.DataFrame, targets: np.ndarray, classes: Sequence[str], params: SplitParams) -> np.ndarray:
    """Return the split of each sample, str (N,).

    `samples`: columns group_id and, for official splits, source_split ("test" or anything else). No group is in two
    splits. Every class is placed in all three splits; raises UserError that names the classes with fewer than three
    groups, or an official list that parts a group.
    """
    labels = indicator(targets, len(classes))
    groups = pd.factorize(samples["group_id"])[0]
    if params.official:
        split = _official(samples, labels, groups, params)
        _require_classes(split, labels, classes, f"split.official with split.seed {params.seed}")
    else:
        _require_three_groups(labels, groups, classes)
        split = _own(labels, groups, np.array([params.train, params.val, params.test]), params.seed)
        _require_classes(split, labels, classes, f"split.seed {params.seed}")
    require_disjoint(split, groups)
    return split


def _own(labels: np.ndarray, groups: np.ndarray, shares: np.ndarray, seed: int) -> np.ndarray:
    """The first of several deals that places every label in every bin with a wish for it."""
    split = np.empty(0, dtype=str)
    for attempt in range(ATTEMPTS):
        rng = np.random.default_rng([seed, attempt])
        bins = deal(labels, groups, integer_sizes(shares, len(labels)), rng)
        split = np.array(SPLITS)[_place_missing(bins, labels, groups, len(shares), rng)]
        if all(labels[split == name].any(axis=0).all() for name in SPLITS):
            break
    return split


def _place_missing(
    bins: np.ndarray, labels: np.ndarray, groups: np.ndarray, num_bins: int, rng: np.random.Generator
) -> np.ndarray:
    """Move one group of each label that a bin lacks into it, from the bin with most groups of that label."""
    bins = bins.copy()
    for label in np.argsort(labels.sum(axis=0), kind="stable"):
        holders = np.unique(groups[labels[:, label]])
        first = np.array([bins[groups == group][0] for group in holders]) if len(holders) < 50 else None
        for wanted in range(num_bins):
            if first is None or (first == wanted).any():
                continue
            giver = np.bincount(first, minlength=num_bins).argmax()
            chosen = rng.choice(np.flatnonzero(first == giver))
            bins[groups == holders[chosen]] = wanted
            first[chosen] = wanted
    return bins


def _official(samples: pd.DataFrame, labels: np.ndarray, groups: np.ndarray, params: SplitParams) -> np.ndarray:
    """Keep the source's test list; cut validation from the rest in the proportion val : train."""
    test = (samples["source_split"] == "test").to_numpy()
    split = np.full(len(samples), "test", dtype="U5")
    rest = ~test
    share = np.array([params.train, params.val]) / (params.train + params.val)
    rest_groups = np.unique(groups[rest], return_inverse=True)[1]
    bins = deal(labels[rest], rest_groups, integer_sizes(share, int(rest.sum())), np.random.default_rng(params.seed))
    split[rest] = np.array(["train", "val"])[bins]
    return split


def require_disjoint(split: np.ndarray, groups: np.ndarray) -> None:
    """Raise UserError if a group is in two splits."""
    crossing = pd.DataFrame({"group": groups, "split": split}).groupby("group")["split"].nunique()
    if (crossing > 1).any():
        raise UserError(
            f"splits: {int((crossing > 1).sum())} groups are in two splits; the official list parts patients, "
            "set split.official: false"
        )


def _require_three_groups(labels: np.ndarray, groups: np.ndarray, classes: Sequence[str]) -> None:
    few = [
        f"{name} ({count})"
        for name, count in ((name, len(np.unique(groups[labels[:, c]]))) for c, name in enumerate(classes))
        if count < len(SPLITS)
    ]
    if few:
        raise UserError(
            f"splits: too few groups (patients, lesions) to place one in each of train, val and test: "
            f"{', '.join(few)}; at least 3 are needed. Add images of these classes, or leave the classes out"
        )


def _require_classes(split: np.ndarray, labels: np.ndarray, classes: Sequence[str], origin: str) -> None:
    for name in SPLITS:
        present = np.asarray(labels[split == name].any(axis=0))
        absent = [label for label, there in zip(classes, present.tolist(), strict=True) if not there]
        if absent:
            raise UserError(f"{origin}: split {name} has no sample of {', '.join(absent)}; try another split.seed")


def counts(split: np.ndarray, targets: np.ndarray, classes: Sequence[str]) -> pd.DataFrame:
    """Return samples per split and class: index split, one column per class and `samples`."""
    labels = pd.DataFrame(indicator(targets, len(classes)), columns=pd.Index(classes))
    table = labels.groupby(split).sum().reindex(list(SPLITS)).fillna(0).astype(int)
    table.insert(0, "samples", [int((split == name).sum()) for name in SPLITS])
    return table
