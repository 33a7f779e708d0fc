"""Splits: no group in two of them, every class in all of them, folds, official lists kept."""

import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.common.errors import UserError
from pipeline.data import splits
from pipeline.params.tree import SplitParams


def split_params(**changes: object) -> SplitParams:
    return SplitParams(
        **({"seed": 0, "train": 0.7, "val": 0.1, "test": 0.2, "official": False, "folds": None, "fold": 0} | changes)
    )


def frame(groups: list[str], source: list[str] | None = None) -> pd.DataFrame:
    table = pd.DataFrame({"sample_id": [f"s{i}" for i in range(len(groups))], "group_id": groups})
    return table if source is None else table.assign(source_split=source)


@pytest.mark.parametrize("seed", range(5))
def test_no_group_is_in_two_splits_and_every_class_is_in_all(seed):
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, 150, 400)
    lesion_class = rng.choice(4, 150, p=[0.7, 0.2, 0.07, 0.03])
    lesion_class[:12] = np.repeat(np.arange(4), 3)  # three groups of each at least
    groups[:12] = np.arange(12)
    targets = lesion_class[groups]
    samples = frame([f"g{g}" for g in groups])
    split = splits.assign(samples, targets, tuple("abcd"), split_params(seed=seed))
    assert (pd.DataFrame({"g": groups, "s": split}).groupby("g")["s"].nunique() == 1).all()
    for name in splits.SPLITS:
        assert set(targets[split == name]) == {0, 1, 2, 3}
    shares = pd.Series(split).value_counts(normalize=True)
    largest = np.bincount(groups).max() / len(groups)
    assert abs(shares["train"] - 0.7) <= 4 * largest
    assert abs(shares["test"] - 0.2) <= 4 * largest


def test_three_groups_of_a_finding_go_to_three_splits_even_when_findings_overlap():
    rng = np.random.default_rng(0)
    targets = np.zeros((60, 3), dtype=np.float32)
    targets[[0, 1, 2], 0] = 1
    targets[[0, 3, 4], 1] = 1
    targets[[1, 3, 5], 2] = 1
    for seed in range(20):
        split = splits.assign(
            frame([f"g{i}" for i in rng.permutation(60)]), targets, tuple("abc"), split_params(seed=seed)
        )
        for name in splits.SPLITS:
            assert targets[split == name].sum(axis=0).min() >= 1


def test_a_class_with_two_groups_is_an_error_that_names_it():
    targets = np.array([0] * 20 + [1] * 5)
    groups = [f"g{i}" for i in range(20)] + ["x", "x", "x", "y", "y"]
    with pytest.raises(UserError, match=r"too few groups.*SCC \(2\)"):
        splits.assign(frame(groups), targets, ("NV", "SCC"), split_params())


def test_the_official_test_list_is_kept_and_validation_is_cut_from_the_rest():
    rng = np.random.default_rng(0)
    source = ["test"] * 40 + ["train_val"] * 160
    targets = (rng.random((200, 2)) < 0.4).astype(np.float32)
    split = splits.assign(
        frame([f"p{i}" for i in range(200)], source), targets, ("A", "B"), split_params(official=True)
    )
    assert (split[:40] == "test").all()
    assert (split[40:] == "val").sum() == 20
    assert (split[40:] == "train").sum() == 140


def test_an_official_list_that_parts_a_patient_is_refused():
    source = ["test"] * 5 + ["train_val"] * 15
    targets = np.tile(np.eye(2, dtype=np.float32), (10, 1))
    groups = ["same"] + [f"p{i}" for i in range(1, 19)] + ["same"]
    with pytest.raises(UserError, match="in two splits"):
        splits.assign(frame(groups, source), targets, ("A", "B"), split_params(official=True))


def test_the_same_seed_splits_the_same_and_another_differently():
    targets = np.arange(300) % 3
    samples = frame([f"g{i}" for i in range(300)])
    first, again, other = (splits.assign(samples, targets, tuple("abc"), split_params(seed=s)) for s in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


def crossing(groups: np.ndarray, part: np.ndarray) -> int:
    return int((pd.DataFrame({"g": groups, "p": part}).groupby("g")["p"].nunique() > 1).sum())


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 8), st.integers(2, 6), st.booleans(), st.booleans(), st.integers(0, 2**31 - 1))
def test_folds_partition_the_samples_and_each_in_turn_is_the_test_split(k, C, several, grouped, seed):
    rng = np.random.default_rng(seed)
    G = 4 * k * C
    groups = rng.permutation(np.concatenate([np.arange(G), rng.integers(0, G, 2 * G)])) if grouped else np.arange(G)
    if several:
        of_group = rng.random((G, C)) < 0.2
        of_group[np.arange(G), np.arange(G) % C] |= np.arange(G) < 2 * k * C
        targets = of_group[groups].astype(np.float32)
    else:
        targets = (np.arange(G) % C)[groups]
    has = splits.indicator(targets, C)
    samples, classes = frame([f"g{g}" for g in groups]), tuple("abcdef"[:C])
    fold = splits.assign_folds(samples, targets, classes, split_params(folds=k, seed=seed))
    assert set(fold.tolist()) == set(range(k))
    assert crossing(groups, fold) == 0
    largest = int(np.bincount(groups).max())
    sizes = np.bincount(fold, minlength=k)
    if not grouped:
        assert sizes.max() - sizes.min() <= 1 + 2 * several  # a mended deal moves a group or two
    assert np.abs(sizes - len(groups) / k).max() <= 3 * largest
    for f in range(k):
        split = splits.assign(samples, targets, classes, split_params(folds=k, fold=f, seed=seed))
        assert (split == "test").tolist() == (fold == f).tolist()
        assert crossing(groups, split) == 0
        for name in splits.SPLITS:
            assert has[split == name].any(axis=0).all()
        rest = int((split != "test").sum())
        assert abs((split == "val").sum() - rest / 8) <= 1 + 2 * C * largest  # val : train = 0.1 : 0.7


def test_folds_keep_the_class_proportions():
    targets = np.repeat(np.arange(3), [300, 90, 30])
    fold = splits.assign_folds(frame([f"g{i}" for i in range(420)]), targets, tuple("abc"), split_params(folds=3))
    counts = np.array([np.bincount(targets[fold == f], minlength=3) for f in range(3)])
    assert counts.tolist() == [[100, 30, 10]] * 3


@pytest.mark.parametrize(("k", "groups"), [(2, 4), (3, 3), (4, 4)])
def test_as_few_groups_of_a_class_as_allowed_reach_all_splits_whichever_fold_is_the_test_split(k, groups):
    targets = np.array([0] * 30 + [1] * groups)
    samples = frame([f"g{i}" for i in range(30 + groups)])
    for seed in range(10):
        for f in range(k):
            split = splits.assign(samples, targets, ("NV", "DF"), split_params(folds=k, fold=f, seed=seed))
            assert sorted(set(split[30:])) == ["test", "train", "val"]


@pytest.mark.parametrize(("k", "groups", "needed"), [(2, 3, 4), (3, 2, 3), (5, 4, 5)])
def test_a_class_with_too_few_groups_for_the_folds_is_an_error_that_names_it(k, groups, needed):
    targets = np.array([0] * 30 + [1] * groups)
    samples = frame([f"g{i}" for i in range(30 + groups)])
    with pytest.raises(UserError, match=rf"each of the {k} folds.*: DF \({groups}\); at least {needed} are needed"):
        splits.assign(samples, targets, ("NV", "DF"), split_params(folds=k))


def official(source: list[str], groups: list[str] | None = None) -> np.ndarray:
    """Split 40 samples of two classes by a list; each sample is a group unless `groups` says otherwise."""
    samples = frame(groups or [f"p{i}" for i in range(40)], source)
    return splits.assign(samples, np.arange(40) % 2, ("A", "B"), split_params(official=True))


def test_a_split_column_that_names_val_is_taken_as_it_is():
    source = ["train"] * 20 + ["val"] * 6 + ["test"] * 14
    assert official(source).tolist() == source


def test_a_split_column_without_val_has_it_cut_from_train():
    split = official(["test"] * 8 + ["train"] * 32)
    assert (split[:8] == "test").all()
    assert [int((split == name).sum()) for name in splits.SPLITS] == [28, 4, 8]  # 32 = 7 : 1


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (["train"] * 20 + ["val"] * 20, "no sample is in split test; the values met are 'train', 'val'"),
        (["train"] * 40, "no sample is in split test; the values met are 'train'"),
        (["test"] * 40, "no sample is in split train; the values met are 'test'"),
        (["test"] * 20 + ["val"] * 20, "no sample is in split train; the values met are 'test', 'val'"),
        (["train"] * 30 + ["valid"] * 4 + ["test"] * 6, "sample 's30': unknown split 'valid'; the splits are train"),
        (["train"] * 30 + ["val"] * 4 + ["Test"] * 6, "sample 's34': unknown split 'Test'"),
        (["train"] * 30 + [""] * 4 + ["test"] * 6, "sample 's30': unknown split ''"),
        (["train"] * 30 + ["val"] * 4 + ["test"] * 5 + ["holdout"], "sample 's39': unknown split 'holdout'"),
    ],
)
def test_a_split_column_with_unknown_values_or_without_a_split_is_reported(source, message):
    with pytest.raises(UserError) as error:
        official(source)
    assert message in str(error.value)
    assert "set split.official: false" in str(error.value)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (["test"] * 10 + ["train_val"] * 30, "group 'same' is in two splits: test and train_val"),
        (["test"] * 10 + ["val"] * 5 + ["train"] * 25, "group 'same' is in two splits: test and train"),
        (["train"] * 10 + ["test"] * 5 + ["val"] * 25, "group 'same' is in two splits: train and val"),
    ],
)
def test_a_group_in_two_official_splits_is_named_with_them(source, message):
    with pytest.raises(UserError) as error:
        official(source, ["same", *(f"p{i}" for i in range(38)), "same"])
    assert message in str(error.value)


def test_official_splits_of_data_without_them_are_refused():
    with pytest.raises(UserError, match=r"neither a test list nor a split column; set split.official: false"):
        splits.assign(frame(["a", "b"]), np.array([0, 1]), ("A", "B"), split_params(official=True))


def test_a_class_that_an_official_list_leaves_out_of_a_split_is_reported():
    samples = frame([f"p{i}" for i in range(40)], ["test"] * 10 + ["train"] * 30)
    rare = np.zeros(40, dtype=np.int64)
    rare[20:25] = 1
    with pytest.raises(UserError, match=r"split.official: .* split test has no sample of B; set split.official: false"):
        splits.assign(samples, rare, ("A", "B"), split_params(official=True))
    rare[[0, 21, 22, 23, 24]] = 1, 0, 0, 0, 0
    with pytest.raises(UserError, match=r"in each of train and val beside the test split: B \(1\); at least 2"):
        splits.assign(samples, rare, ("A", "B"), split_params(official=True))


def test_two_groups_outside_the_test_list_are_enough_for_train_and_val():
    samples = frame([f"p{i}" for i in range(40)], ["test"] * 10 + ["train"] * 30)
    rare = np.zeros(40, dtype=np.int64)
    rare[[0, 20, 30]] = 1
    for seed in range(10):
        split = splits.assign(samples, rare, ("A", "B"), split_params(official=True, seed=seed))
        assert sorted(split[rare == 1]) == ["test", "train", "val"]


def test_a_group_that_crosses_is_caught_and_named():
    with pytest.raises(UserError, match=r"group 'b' is in two splits: test and train \(such groups: 1\)"):
        splits.require_disjoint(np.array(["train", "train", "test"]), np.array(["a", "b", "b"]))


def test_counts_are_of_samples_groups_and_classes_of_each_split():
    split = np.array(["train", "train", "train", "val", "test"])
    table = splits.counts(split, np.array([0, 0, 1, 1, 0]), ("NV", "groups"), ["g1", "g1", "g2", "g3", "g4"])
    assert table.columns.tolist() == ["samples", "groups", "NV", "groups"]
    assert table.to_numpy().tolist() == [[3, 2, 2, 1], [1, 1, 0, 1], [1, 1, 1, 0]]
    assert table.index.tolist() == ["train", "val", "test"]


@settings(max_examples=40, deadline=None)
@given(st.integers(3, 8), st.integers(60, 300), st.booleans(), st.integers(0, 2**31 - 1))
def test_rare_classes_reach_every_split_for_any_seed(C, N, several, seed):
    rng = np.random.default_rng(seed)
    classes = tuple("abcdefgh"[:C])
    if several:
        targets = (rng.random((N, C)) < 0.02).astype(np.float32)
        targets[rng.permutation(N)[: 3 * C], np.arange(3 * C) % C] = 1
    else:
        targets = np.zeros(N, dtype=np.int64)
        targets[: 3 * C] = np.arange(3 * C) % C  # three groups of each class but the first
    has = splits.indicator(targets, C)
    split = splits.assign(frame([f"g{i}" for i in range(N)]), targets, classes, split_params(seed=seed))
    for name in splits.SPLITS:
        assert has[split == name].any(axis=0).all()
    assert abs((split == "val").sum() - 0.1 * N) <= 1 + C


def test_a_hundred_thousand_samples_are_split_in_seconds():
    rng = np.random.default_rng(0)
    N = 112_120
    targets = (rng.random((N, 8)) < 0.08).astype(np.float32)
    samples = frame([f"p{g}" for g in rng.integers(0, 30_805, N)])
    start = time.process_time()
    split = splits.assign(samples, targets, tuple("abcdefgh"), split_params())
    assert time.process_time() - start < 30
    assert [int((split == name).sum()) for name in splits.SPLITS] == [78484, 11212, 22424]
