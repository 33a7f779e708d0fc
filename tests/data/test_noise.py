"""Label noise: literal matrices, realised rates, test labels untouched."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data import noise
from pipeline.params import NoiseParams


def params(kind: str, **changes: object) -> NoiseParams:
    return NoiseParams(
        **(
            {"kind": kind, "rate": 0.3, "matrix": "noise.csv", "miss_rate": 0.2, "false_rate": 0.05, "seed": 0}
            | changes
        )
    )


def test_transition_matrices_are_the_published_ones():
    assert noise.transition_matrix("symmetric", 0.3, 4) == pytest.approx(
        np.array([[0.7, 0.1, 0.1, 0.1], [0.1, 0.7, 0.1, 0.1], [0.1, 0.1, 0.7, 0.1], [0.1, 0.1, 0.1, 0.7]])
    )
    assert noise.transition_matrix("pair", 0.4, 3) == pytest.approx(
        np.array([[0.6, 0.4, 0], [0, 0.6, 0.4], [0.4, 0, 0.6]])
    )
    assert noise.transition_matrix("none", 0.4, 2).tolist() == [[1, 0], [0, 1]]


def test_a_uniform_number_picks_the_class_by_the_cumulative_row():
    transition = np.array([[0.7, 0.2, 0.1], [0.0, 1.0, 0.0], [0.5, 0.0, 0.5]])
    targets = np.array([0, 0, 0, 0, 1, 1, 2, 2])
    uniforms = np.array([0.0, 0.69, 0.7, 0.95, 0.0, 0.999, 0.49, 0.5])
    assert noise.through_matrix(targets, transition, uniforms).tolist() == [0, 0, 1, 2, 1, 1, 0, 2]


def test_flip_has_separate_rates_for_missed_and_false_findings():
    targets = np.array([[1, 0], [1, 0], [0, 1]], dtype=np.float32)
    uniforms = np.array([[0.19, 0.04], [0.21, 0.06], [0.049, 0.5]])
    assert noise.flip(targets, 0.2, 0.05, uniforms).tolist() == [[0, 1], [1, 0], [1, 1]]


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 10), st.floats(0, 0.9), st.integers(0, 2**31 - 1), st.sampled_from(["symmetric", "pair"]))
def test_the_realised_rate_is_the_nominal_one_within_sampling_error(C, rate, seed, kind):
    N = 4000
    targets = np.random.default_rng(seed).integers(0, C, N)
    given_labels = noise.corrupt(targets, np.ones(N, dtype=bool), C, params(kind, rate=rate, seed=seed))
    realised = noise.changed(given_labels, targets).mean()
    assert abs(realised - rate) <= 5 * np.sqrt(rate * (1 - rate) / N) + 1e-9


def test_labels_outside_train_and_validation_are_never_touched():
    targets = np.arange(1000) % 8
    affected = np.arange(1000) < 700
    given_labels = noise.corrupt(targets, affected, 8, params("symmetric", rate=0.9))
    assert (given_labels[700:] == targets[700:]).all()
    assert (given_labels[:700] != targets[:700]).mean() > 0.8


def test_a_rows_noise_does_not_depend_on_the_rows_after_it():
    targets = np.arange(500) % 4
    whole = noise.corrupt(targets, np.ones(500, dtype=bool), 4, params("symmetric"))
    part = noise.corrupt(targets[:200], np.ones(200, dtype=bool), 4, params("symmetric"))
    assert (whole[:200] == part).all()


def test_multilabel_rates_by_finding():
    rng = np.random.default_rng(1)
    targets = (rng.random((20000, 2)) < 0.3).astype(np.float32)
    given_labels = noise.corrupt(targets, np.ones(20000, dtype=bool), 2, params("flip"))
    missed = 1 - given_labels[targets > 0].mean()
    false = given_labels[targets == 0].mean()
    assert missed == pytest.approx(0.2, abs=0.015)
    assert false == pytest.approx(0.05, abs=0.006)
