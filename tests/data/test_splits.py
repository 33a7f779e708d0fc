"""Splits: no group in two of them, every class in all of them, official lists kept."""

import numpy as np
import pandas as pd
import pytest

from pipeline.data import splits
from pipeline.errors import UserError
from pipeline.params import SplitParams


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
