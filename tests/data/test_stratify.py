"""Dealing groups into bins: exact sizes, whole groups, class proportions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data.stratify import deal, integer_sizes


def test_integer_sizes_use_the_largest_remainders():
    assert integer_sizes(np.array([0.7, 0.1, 0.2]), 10).tolist() == [7, 1, 2]
    assert integer_sizes(np.array([0.5, 0.25, 0.25]), 7).tolist() == [3, 2, 2]
    assert integer_sizes(np.array([1 / 3, 1 / 3, 1 / 3]), 4).tolist() == [2, 1, 1]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 120), st.integers(1, 6), st.integers(1, 6), st.integers(0, 2**31 - 1), st.booleans())
def test_sizes_are_exact_for_singletons_and_within_a_group_otherwise(N, C, B, seed, grouped):
    rng = np.random.default_rng(seed)
    labels = rng.random((N, C)) < 0.3
    groups = np.unique(rng.integers(0, max(1, N // 2), N), return_inverse=True)[1] if grouped else np.arange(N)
    sizes = integer_sizes(np.full(B, 1 / B), N)
    bins = deal(labels, groups, sizes, rng)
    got = np.bincount(bins, minlength=B)
    assert got.sum() == N
    largest = np.bincount(groups).max()
    assert np.abs(got - sizes).max() <= (0 if largest == 1 else largest)
    for group in np.unique(groups):
        assert len(np.unique(bins[groups == group])) == 1


def test_classes_are_spread_in_proportion():
    labels = np.eye(4, dtype=bool)[np.repeat(np.arange(4), [400, 200, 100, 20])]
    bins = deal(labels, np.arange(720), np.array([504, 72, 144]), np.random.default_rng(0))
    counts = np.array([labels[bins == b].sum(axis=0) for b in range(3)])
    assert counts.tolist() == [[280, 140, 70, 14], [40, 20, 10, 2], [80, 40, 20, 4]]


@pytest.mark.parametrize("seed", [0, 1])
def test_the_same_seed_deals_the_same(seed):
    labels = np.random.default_rng(5).random((50, 3)) < 0.4
    first, second = (deal(labels, np.arange(50), np.array([30, 20]), np.random.default_rng(seed)) for _ in range(2))
    assert (first == second).all()
