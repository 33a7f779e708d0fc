"""Train, validation and test by group, stratified by label (method, section 8)."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from pipeline.common.errors import SettingError
from pipeline.common.labels import indicator
from pipeline.data.official import REST, official_split
from pipeline.data.spread import spread
from pipeline.params.tree import SplitParams

SPLITS = ("train", "val", "test")


def assign(samples: pd.DataFrame, targets: np.ndarray, classes: Sequence[str], params: SplitParams) -> np.ndarray:
    """Return the split of each sample, str (N,).

    `samples`: columns sample_id, group_id and, for official splits, source_split. No group is in two splits. Every
    class is placed in all three splits; raises UserError that names the classes with too few groups for that, or what
    is wrong with an official list.
    """
    labels = indicator(targets, len(classes))
    groups = pd.factorize(samples["group_id"])[0]
    if params.official:
        split = official_split(samples)
        origin = "split.official: the source's own list"
    elif params.folds is not None:
        fold = assign_folds(samples, targets, classes, params)
        split = np.where(fold == params.fold, "test", REST)
        origin = f"split.seed {params.seed}, split.fold {params.fold}"
    else:
        _require_groups(labels, groups, classes, len(SPLITS), "in each of train, val and test")
        shares = np.array([params.train, params.val, params.test])
        split = np.array(SPLITS)[spread(labels, groups, shares, params.seed)]
        origin = f"split.seed {params.seed}"
    if (split == REST).any():
        split = _cut_validation(split, labels, groups, classes, params)
    _require_classes(split, labels, classes, origin)
    require_disjoint(split, samples["group_id"].to_numpy(dtype=str))
    return split


def assign_folds(samples: pd.DataFrame, targets: np.ndarray, classes: Sequence[str], params: SplitParams) -> np.ndarray:
    """Return the cross-validation fold of each sample, int64 (N,) in 0..k-1, k = `params.folds`; groups stay whole.

    The folds do not depend on `params.fold`. Every class is in every fold; raises UserError that names the classes
    with too few groups.
    """
    k = params.folds
    if k is None:
        raise ValueError("assign_folds needs split.folds")
    labels = indicator(targets, len(classes))
    groups = pd.factorize(samples["group_id"])[0]
    each = 2 if k == 2 else 1  # the other folds together must hold two groups, one for train and one for val
    _require_groups(labels, groups, classes, k * each, f"in each of the {k} folds (split.folds), train and val")
    fold = spread(labels, groups, np.full(k, 1 / k), params.seed, each)
    for number in range(k):
        absent = _absent(labels[fold == number], classes)
        if absent:
            raise SettingError(f"split.seed {params.seed}: fold {number} has no sample of {absent}; try another seed")
    return fold


def _cut_validation(
    split: np.ndarray, labels: np.ndarray, groups: np.ndarray, classes: Sequence[str], params: SplitParams
) -> np.ndarray:
    """Deal the rest to train and val in the proportion train : val; the test split stays."""
    rest = split == REST
    own_groups = np.unique(groups[rest], return_inverse=True)[1]
    _require_groups(labels[rest], own_groups, classes, 2, "in each of train and val beside the test split")
    share = np.array([params.train, params.val]) / (params.train + params.val)
    split = split.astype("U5")
    split[rest] = np.array(SPLITS[:2])[spread(labels[rest], own_groups, share, params.seed)]
    return split


def require_disjoint(split: np.ndarray, group_ids: np.ndarray) -> None:
    """Raise UserError that names a group which is in two splits: the last check before anything is trained."""
    met = pd.DataFrame({"group": group_ids, "split": split}).groupby("group", sort=False)["split"].nunique()
    crossing = met.index[met > 1]
    if len(crossing):
        own = np.unique(split[group_ids == crossing[0]]).tolist()
        raise SettingError(
            f"splits: group {crossing[0]!r} is in two splits: {' and '.join(own)} (such groups: {len(crossing)}); "
            "all images of a patient or lesion belong in one"
        )


def _require_groups(labels: np.ndarray, groups: np.ndarray, classes: Sequence[str], needed: int, where: str) -> None:
    """Raise UserError that names every class with fewer than `needed` groups, and how many it has."""
    having = ((name, len(np.unique(groups[labels[:, c]]))) for c, name in enumerate(classes))
    few = [f"{name} ({count})" for name, count in having if count < needed]
    if few:
        raise SettingError(
            f"splits: too few groups (patients, lesions) to place one {where}: {', '.join(few)}; at least {needed} are "
            "needed. Add images of these classes, or leave the classes out"
        )


def _require_classes(split: np.ndarray, labels: np.ndarray, classes: Sequence[str], origin: str) -> None:
    for name in SPLITS:
        absent = _absent(labels[split == name], classes)
        if absent:
            help_ = "set split.official: false" if origin.startswith("split.official") else "try another split.seed"
            raise SettingError(f"{origin}: split {name} has no sample of {absent}; {help_}, or leave the classes out")


def _absent(labels: np.ndarray, classes: Sequence[str]) -> str:
    """The classes that no row of `labels` has, joined by commas."""
    present = np.asarray(labels.any(axis=0)).tolist()
    return ", ".join(name for name, there in zip(classes, present, strict=True) if not there)


def counts(
    split: np.ndarray, targets: np.ndarray, classes: Sequence[str], group_ids: Sequence[str] | pd.Series
) -> pd.DataFrame:
    """Return samples per split and class: index split, columns `samples`, `groups` and one per class."""
    labels = pd.DataFrame(indicator(targets, len(classes)), columns=pd.Index(classes))
    table = labels.groupby(split).sum().reindex(list(SPLITS)).fillna(0).astype(int)
    groups = pd.Series(list(group_ids)).groupby(split).nunique()
    table.insert(0, "groups", [int(groups.get(name, 0)) for name in SPLITS], allow_duplicates=True)
    table.insert(0, "samples", [int((split == name).sum()) for name in SPLITS], allow_duplicates=True)
    return table
