"""Overlapping subsets: sizes in closed form, union, groups, class proportions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data.prepared import Prepared
from pipeline.data.subsets import members_of, membership
from pipeline.params.tree import SubsetParams


def params(scheme: str, overlap: float, equal_size: bool = False) -> SubsetParams:
    return SubsetParams(scheme=scheme, overlap=overlap, equal_size=equal_size, partitions=1, seed=0)


@pytest.mark.parametrize(
    ("scheme", "overlap", "sizes"),
    [
        ("core", 0.0, [200] * 5),
        ("core", 0.4, [520] * 5),  # 0.4 * 1000 + 0.6 * 200, the 52 % of the method
        ("core", 1.0, [1000] * 5),
        ("cyclic", 0.0, [200] * 5),
        ("cyclic", 0.4, [520] * 5),
        ("cyclic", 1.0, [1000] * 5),
        ("within", 0.0, [200] * 5),
        ("within", 0.4, [295, 295, 294, 294, 294]),  # 1000 / (5 * 0.6 + 0.4) = 294.1, core 118
        ("within", 1.0, [1000] * 5),
    ],
)
def test_sizes_at_the_ends_and_at_the_papers_overlap(scheme, overlap, sizes):
    members = membership(np.arange(1000) % 8, np.arange(1000), 8, 5, params(scheme, overlap))
    assert sorted(members.sum(axis=0), reverse=True) == sizes
    assert members.any(axis=1).all()
    if overlap == 0:
        assert (members.sum(axis=1) == 1).all()
    if overlap == 1:
        assert members.all()


def test_core_shares_one_core_and_cyclic_leaves_every_sample_an_unseen_teacher():
    targets, groups = np.arange(1000) % 8, np.arange(1000)
    core = membership(targets, groups, 8, 5, params("core", 0.4))
    assert core.all(axis=1).sum() == 400
    cyclic = membership(targets, groups, 8, 5, params("cyclic", 0.4))
    assert sorted(set(cyclic.sum(axis=1))) == [2, 3]  # mean 1 + 0.4 * 4 = 2.6
    assert cyclic.sum(axis=1).mean() == pytest.approx(2.6)
    assert not membership(targets, groups, 8, 5, params("cyclic", 0.75)).all(axis=1).any()


def test_within_shares_the_stated_part_of_each_subset():
    members = membership(np.arange(1000) % 8, np.arange(1000), 8, 5, params("within", 0.4))
    assert members.all(axis=1).sum() / members[:, 0].sum() == pytest.approx(0.4, abs=0.002)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["core", "cyclic", "within"]),
    st.floats(0, 1),
    st.integers(1, 6),
    st.integers(12, 200),
    st.booleans(),
)
def test_union_sizes_and_groups_hold_for_any_overlap(scheme, p, K, N, grouped):
    rng = np.random.default_rng(N)
    groups = np.unique(rng.integers(0, N // 2, N), return_inverse=True)[1] if grouped else np.arange(N)
    members = membership(rng.integers(0, 3, N), groups, 3, K, params(scheme, p))
    size = N / (K * (1 - p) + p) if scheme == "within" else p * N + (1 - p) * N / K
    largest = np.bincount(groups).max()
    assert members.any(axis=1).all()
    assert np.abs(members.sum(axis=0) - size).max() <= (2 if largest == 1 else 2 + 2 * K * largest)
    for group in np.unique(groups):
        assert (members[groups == group] == members[groups == group][0]).all()


def test_class_proportions_are_kept_within_two_samples():
    targets = np.repeat(np.arange(4), [600, 250, 100, 50])
    members = membership(targets, np.arange(1000), 4, 5, params("cyclic", 0.4))
    counts = np.array([np.bincount(targets[members[:, k]], minlength=4) for k in range(5)])
    assert np.abs(counts - 0.52 * np.array([600, 250, 100, 50])).max() <= 2


def test_the_equal_size_control_keeps_a_random_share_of_each_own_subset():
    targets = np.arange(1000) % 8
    whole = membership(targets, np.arange(1000), 8, 5, params("cyclic", 0.4))
    cut = membership(targets, np.arange(1000), 8, 5, params("cyclic", 0.4, equal_size=True))
    assert cut.sum(axis=0).tolist() == [200] * 5
    assert not (cut & ~whole).any()


def test_partitions_are_independent_divisions_with_a_teacher_of_every_architecture_each(make_params):
    N = 1000
    labels, nothing = np.arange(N) % 8, np.zeros(0)
    prepared = Prepared(
        task="multiclass", classes=tuple("abcdefgh"), images=nothing, sample_ids=nothing, published=labels,
        groups=np.arange(N).astype(str), split=np.full(N, "train"), given=labels,
    )  # fmt: skip
    one = make_params(teachers={"architectures": ["resnet18", "resnet34"]}, subsets={"overlap": 0.0})
    three = make_params(teachers={"architectures": ["resnet18", "resnet34"]}, subsets={"overlap": 0.0, "partitions": 3})
    alone, found = members_of(prepared, one), members_of(prepared, three)
    assert list(alone) == ["resnet18", "resnet34"]
    assert list(found) == [
        "resnet18", "resnet34", "resnet18-p2", "resnet34-p2", "resnet18-p3", "resnet34-p3",
    ]  # fmt: skip
    assert all((found[name] == member).all() for name, member in alone.items())
    for first, second in (("resnet18", "resnet34"), ("resnet18-p2", "resnet34-p2"), ("resnet18-p3", "resnet34-p3")):
        assert (found[first] ^ found[second]).all()
    for other in ("resnet18-p2", "resnet18-p3"):
        assert (found["resnet18"] & found[other]).sum() == pytest.approx(250, abs=50)
