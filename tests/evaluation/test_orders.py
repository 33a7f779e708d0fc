"""Orders of doubt against known mistakes: literal precisions, and curves that end where they must."""

import warnings

import numpy as np
import pytest

from pipeline.evaluation.orders import POINTS, average_precision, curve, precision_at

NAN = float("nan")


@pytest.mark.parametrize(
    ("doubt", "wrong", "expected"),
    [
        ([0.9, 0.8, 0.7, 0.6], [1, 0, 1, 0], (1 / 1 + 2 / 3) / 2),
        ([0.6, 0.7, 0.8, 0.9], [1, 0, 1, 0], (1 / 2 + 2 / 4) / 2),
        ([0.9, 0.8], [1, 1], 1),
        ([0.3] * 5, [1, 0, 0, 0, 1], 2 / 5),
        ([0.3, 0.2], [0, 0], NAN),
        ([], [], NAN),
    ],
)
def test_average_precision_is_the_mean_of_the_precision_at_each_wrong_label(doubt, wrong, expected):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = average_precision(np.array(doubt), np.array(wrong, dtype=bool))
    assert found == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(("k", "expected"), [(1, 1), (2, 1 / 2), (3, 2 / 3), (4, 1 / 2), (9, 1 / 2)])
def test_precision_at_k_is_the_share_of_wrong_labels_among_the_first(k, expected):
    """The order is the second sample, the fourth, the third, the first."""
    doubt, wrong = np.array([0.1, 0.9, 0.5, 0.7]), np.array([False, True, True, False])
    assert precision_at(doubt, wrong, k) == pytest.approx(expected)


def test_a_curve_gives_precision_and_recall_at_growing_numbers_of_checked_labels():
    """The order is the second sample, the fourth, the third, the first."""
    doubt, wrong = np.array([0.1, 0.9, 0.5, 0.7]), np.array([False, True, True, False])
    assert list(curve(doubt, wrong)) == [(1, 1.0, 0.5), (2, 0.5, 0.5), (3, 2 / 3, 1.0), (4, 0.5, 1.0)]


def test_a_long_curve_is_thinned_and_ends_with_all_labels():
    drawn = np.random.default_rng(0)
    doubt, wrong = drawn.random(10_000), drawn.random(10_000) < 0.2
    found = list(curve(doubt, wrong))
    assert 30 < len(found) <= POINTS
    assert [k for k, _, _ in found] == sorted({k for k, _, _ in found})
    assert found[0][0] == 1
    assert found[-1] == (10_000, pytest.approx(wrong.mean()), 1.0)
    for k, precision, recall in found:
        assert precision == pytest.approx(precision_at(doubt, wrong, k))
        assert recall == pytest.approx(precision * k / wrong.sum())


def test_without_a_mistake_there_is_no_curve():
    assert list(curve(np.array([0.3, 0.2]), np.array([False, False]))) == []
