"""Thresholds and biases tuned on validation: closed forms, and what no other decision beats."""

from itertools import product

import numpy as np
import pytest
from scipy.special import logit
from sklearn import metrics as sk

from pipeline.evaluation.metrics import probabilities
from pipeline.evaluation.tuning import tune_biases, tune_thresholds
from tests.evaluation.drawn import multiclass, multilabel


@pytest.mark.parametrize(
    ("scores", "positives", "expected"),
    [
        ([0.1, 0.4, 0.6, 0.8], [0, 0, 1, 1], 0.6),  # separable: the lowest positive
        ([0.1, 0.4, 0.6, 0.8], [1, 1, 1, 1], 0.1),  # call all
        ([0.9, 0.2], [0, 0], 0.5),  # no positives
        ([0.3, 0.3, 0.3], [1, 0, 0], 0.3),  # one value: all or nothing
        ([0.2, 0.3, 0.7, 0.9], [1, 0, 0, 1], 0.9),  # F1 2/3 at 0.9 and at 0.2: the highest wins
    ],
)
def test_tuned_thresholds(scores: list[float], positives: list[int], expected: float) -> None:
    assert tune_thresholds(logit(scores)[:, None], np.array(positives)[:, None]) == pytest.approx([expected])


def test_no_threshold_beats_the_tuned_one() -> None:
    logits, targets = multilabel(200)
    scores = probabilities("multilabel", logits)
    tuned = tune_thresholds(logits, targets)
    reached = sk.f1_score(targets, scores >= tuned, average=None)
    for c in range(4):
        best = max(sk.f1_score(targets[:, c], scores[:, c] >= cut) for cut in np.linspace(0, 0.99, 100))
        assert reached[c] >= best


def f1_with(logits: np.ndarray, targets: np.ndarray, biases: np.ndarray) -> float:
    called = (logits + biases).argmax(axis=1)
    return float(sk.f1_score(targets, called, labels=np.unique(targets), average="macro", zero_division=0))


@pytest.mark.parametrize("seed", range(5))
def test_of_two_classes_no_cut_beats_the_tuned_biases(seed):
    rng = np.random.default_rng(seed)
    targets = (rng.random(60) < 0.15).astype(int)
    logits = np.stack([np.zeros(60), rng.normal(size=60) + 1.5 * targets - 2], axis=1)
    biases = tune_biases(logits, targets)
    best = max(f1_with(logits, targets, np.array([0, cut])) for cut in np.linspace(-6, 6, 1201))
    assert f1_with(logits, targets, biases) >= best > f1_with(logits, targets, np.zeros(2))
    assert biases.sum() == pytest.approx(0)


@pytest.mark.parametrize("seed", range(3))
def test_no_other_bias_of_a_single_class_gains(seed):
    logits, targets = multiclass(150, seed)
    biases = tune_biases(logits, targets)
    reached = f1_with(logits, targets, biases)
    assert reached > f1_with(logits, targets, np.zeros(4))
    for c, shift in product(range(4), np.linspace(-5, 5, 501)):
        assert f1_with(logits, targets, biases + shift * np.eye(4)[c]) <= reached + 1e-12


def test_a_prior_that_hides_every_class_but_one_is_undone():
    targets = np.repeat([0, 1, 2], [90, 6, 4])
    logits = 2.0 * np.eye(3)[targets] + [5.0, 0.0, 1.0]  # class 0 is called always, though the order is perfect
    assert (logits.argmax(axis=1) == 0).all()
    assert f1_with(logits, targets, tune_biases(logits, targets)) == 1


def test_where_nothing_gains_there_are_no_biases():
    logits = 3.0 * np.eye(3)[[0, 1, 2, 1]]
    np.testing.assert_array_equal(tune_biases(logits, np.array([0, 1, 2, 1])), np.zeros(3))
    alike = np.zeros((4, 2))  # all or nothing: F1 2/3 and 0, or 0 and 2/3
    np.testing.assert_array_equal(tune_biases(alike, np.array([0, 0, 1, 1])), np.zeros(2))


def test_biases_do_not_depend_on_what_is_added_to_every_logit_of_an_image():
    logits, targets = multiclass(100)
    moved = logits + np.linspace(-50, 50, 100)[:, None]
    np.testing.assert_allclose(tune_biases(moved, targets), tune_biases(logits, targets), atol=1e-4)


def test_a_class_that_validation_lacks_is_left_out_of_the_mean():
    logits, targets = multiclass(200)
    targets = np.where(targets == 3, 1, targets)
    biases = tune_biases(logits, targets)
    assert np.isfinite(biases).all()
    assert f1_with(logits, targets, biases) >= f1_with(logits, targets, np.array([0, 0, 0, -100]))


@pytest.mark.parametrize("logits", [np.zeros((0, 2)), np.array([[np.nan, 0.0]]), np.array([[0.0, np.inf]])])
def test_logits_that_cannot_be_judged_are_refused(logits):
    with pytest.raises(ValueError, match="finite"):
        tune_biases(logits, np.zeros(len(logits), dtype=int))
