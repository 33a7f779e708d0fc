"""Doubtful labels: literal votes, ranks and joints, and noise that is found again in well-calibrated probabilities."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data.subsets import membership
from pipeline.evaluation.audit import (
    Votes,
    combined_score,
    confident_joint,
    doubt_order,
    label_quality,
    noise_rate,
    unseen_votes,
)
from pipeline.params.tree import SubsetParams

NAN = float("nan")


def answers(seed: int, K: int = 3, N: int = 40, C: int = 4) -> list[tuple[np.ndarray, np.ndarray]]:
    """What K teachers say of N samples, and whom they never saw: of some samples nobody, of others several."""
    drawn = np.random.default_rng(seed)
    return [(drawn.dirichlet(np.ones(C), N), drawn.random(N) < 0.5) for _ in range(K)]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("K", [1, 3])
def test_votes_are_the_mean_over_the_teachers_that_never_saw_a_sample(seed, K):
    cast = answers(seed, K)
    votes = unseen_votes(iter(cast), (40, 4))
    counts = set()
    for sample in range(40):
        own = [probabilities[sample] for probabilities, unseen in cast if unseen[sample]]
        counts.add(len(own))
        assert votes.count[sample] == len(own)
        assert votes.mean[sample] == pytest.approx(np.mean(own, axis=0) if own else np.full(4, NAN), nan_ok=True)
    assert counts == {*range(K + 1)}


def test_without_a_teacher_that_never_saw_a_sample_there_is_no_vote():
    everything = [(probabilities, np.zeros(40, dtype=bool)) for probabilities, _ in answers(0)]
    for cast in (everything, []):
        votes = unseen_votes(cast, (40, 4))
        assert votes.count.tolist() == [0] * 40
        assert votes.mean.shape == (40, 4)
        assert np.isnan(votes.mean).all()


@pytest.mark.parametrize(("K", "overlap", "fewest"), [(5, 0.75, 1), (5, 0.8, 0), (3, 0.5, 1), (3, 0.0, 2), (2, 0.0, 1)])
def test_every_sample_has_a_vote_up_to_the_overlap_that_leaves_one_teacher_out(K, overlap, fewest):
    """(K - 2) / (K - 1) is 3/4 for five teachers, 1/2 for three and 0 for two."""
    subsets = SubsetParams(scheme="cyclic", overlap=overlap, equal_size=False, partitions=1, seed=0)
    members = membership(np.arange(120) % 3, np.arange(120), 3, K, subsets)
    votes = unseen_votes([(np.full((120, 3), 1 / 3), ~member) for member in members.T], (120, 3))
    assert votes.count.min() == fewest


def test_the_quality_of_classes():
    mean = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6], [NAN] * 3, [0.4, 0.4, 0.2]])
    quality = label_quality("multiclass", Votes(mean, np.array([2, 1, 0, 1])), np.array([0, 0, 1, 2]))
    assert quality.confidence == pytest.approx([0.7, 0.1, NAN, 0.2], nan_ok=True)
    assert quality.margin == pytest.approx([0.5, -0.5, NAN, -0.2], nan_ok=True)
    assert quality.suggested.tolist() == [0, 2, 1, 0]


def test_the_quality_of_findings():
    mean = np.array([[0.9, 0.2, 0.4], [NAN] * 3, [0.5, 0.3, 1.0]])
    labels = np.array([[1, 1, 0], [0, 1, 0], [1, 0, 0]], dtype=np.float32)
    quality = label_quality("multilabel", Votes(mean, np.array([1, 0, 3])), labels)
    assert quality.confidence == pytest.approx(np.array([[0.9, 0.2, 0.6], [NAN] * 3, [0.5, 0.7, 0.0]]), nan_ok=True)
    assert quality.margin == pytest.approx(np.array([[0.8, -0.6, 0.2], [NAN] * 3, [0.0, 0.4, -1.0]]), nan_ok=True)
    assert quality.suggested.tolist() == [[True, False, False], [False, True, False], [False, False, True]]


def test_a_finding_is_a_choice_of_two_classes():
    """The same probabilities as findings and as classes give the same confidence, margin and suggestion."""
    present, labels = np.array([0.9, 0.3, 0.6]), np.array([0, 0, 1])
    count = np.ones(3, dtype=int)
    as_classes = label_quality("multiclass", Votes(np.stack([1 - present, present], axis=1), count), labels)
    as_findings = label_quality("multilabel", Votes(present[:, None], count), labels[:, None].astype(np.float32))
    assert as_findings.confidence[:, 0] == pytest.approx(as_classes.confidence)
    assert as_findings.margin[:, 0] == pytest.approx(as_classes.margin)
    assert as_findings.suggested[:, 0].tolist() == (as_classes.suggested == 1).tolist()


@pytest.mark.parametrize(
    ("signals", "expected"),
    [
        ([[0.3, 0.1, 0.3, 0.9]], [2.5 / 4, 1 / 4, 2.5 / 4, 1]),
        ([[0.1, 0.2, 0.3, 0.4], [NAN, 5, -1, NAN]], [1 / 4, (2 / 4 + 1) / 2, (3 / 4 + 1 / 2) / 2, 1]),
        ([[0.2, 0.1], [NAN, NAN]], [1, 1 / 2]),
        ([[0.2, 0.1], [1, 9]], [3 / 4, 3 / 4]),
        ([[], []], []),
    ],
)
def test_the_score_is_the_mean_of_the_ranks_that_are_known(signals, expected):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert combined_score(*map(np.array, signals)) == pytest.approx(np.array(expected))


def test_only_the_order_of_a_signal_counts():
    one, other = np.random.default_rng(0).normal(size=(2, 50))
    assert combined_score(np.exp(5 * one), other**3) == pytest.approx(combined_score(one, other))


def test_the_order_of_doubt_begins_with_the_least_sure_and_leaves_out_what_nobody_judged():
    assert doubt_order(np.array([0.5, NAN, 0.1, 0.5, 0.0])).tolist() == [4, 2, 0, 3]
    assert doubt_order(np.array([NAN])).tolist() == []


def test_the_joint_of_two_classes_by_hand():
    """t_0 = (0.9 + 0.6 + 0.3 + 0.5) / 4 = 0.575 and t_1 = (0.8 + 0.3) / 2 = 0.55; the fourth sample reaches neither."""
    of_first = np.array([0.9, 0.6, 0.3, 0.5, 0.2, 0.7])
    joint = confident_joint(np.stack([of_first, 1 - of_first], axis=1), np.array([0, 0, 0, 0, 1, 1]))
    counted = np.array([[2 / 3 * 4, 1 / 3 * 4], [1, 1]])
    assert joint == pytest.approx(counted / 6)
    assert noise_rate(joint) == pytest.approx((4 / 3 + 1) / 6)


def test_a_sample_counts_to_the_most_probable_class_of_those_whose_threshold_it_reaches():
    """The thresholds are 0.4, 0.45 and 0.8: the first sample reaches two, just, the second not that of its 0.5."""
    mean = np.array([[0.4, 0.45, 0.15], [0.05, 0.45, 0.5], [0.1, 0.1, 0.8]])
    assert confident_joint(mean, np.array([0, 1, 2])) == pytest.approx(np.array([[0, 1, 0], [0, 1, 0], [0, 0, 1]]) / 3)


def test_a_class_that_nobody_was_given_has_no_share():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        joint = confident_joint(np.array([[0.1, 0.1, 0.8], [0.2, 0.3, 0.5], [0.1, 0.9, 0.0]]), np.array([0, 0, 1]))
    assert joint[2].tolist() == joint[:, 2].tolist() == [0, 0, 0]
    assert joint[:2].sum(axis=1) == pytest.approx([2 / 3, 1 / 3])


cases = st.tuples(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(2, 6))


def example(case: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and given labels, of which some class may well have none."""
    seed, N, C = case
    drawn = np.random.default_rng(seed)
    return drawn.dirichlet(np.full(C, 0.5), N), drawn.integers(0, C, N)


@settings(max_examples=60, deadline=None)
@given(cases)
def test_the_joint_sums_to_one_and_its_rows_to_the_shares_of_the_given_labels(case):
    mean, labels = example(case)
    C = mean.shape[1]
    joint = confident_joint(mean, labels)
    assert joint.shape == (C, C)
    assert (joint >= 0).all()
    assert joint.sum() == pytest.approx(1)
    assert joint.sum(axis=1) == pytest.approx(np.bincount(labels, minlength=C) / len(labels))
    assert -1e-9 <= noise_rate(joint) <= 1


@settings(max_examples=30, deadline=None)
@given(cases)
def test_neither_the_order_of_samples_nor_of_classes_nor_one_without_a_vote_changes_the_joint(case):
    mean, labels = example(case)
    N, C = mean.shape
    joint, drawn = confident_joint(mean, labels), np.random.default_rng(case[0])
    order, renamed = drawn.permutation(N), drawn.permutation(C)
    assert confident_joint(mean[order], labels[order]) == pytest.approx(joint)
    assert confident_joint(mean[:, renamed], np.argsort(renamed)[labels]) == pytest.approx(joint[renamed][:, renamed])
    more = confident_joint(np.vstack([mean, np.full((3, C), NAN)]), np.append(labels, [0, 0, 1]))
    assert more == pytest.approx(joint)


def test_sure_and_right_answers_find_no_noise():
    labels = np.repeat([0, 1, 2], [5, 3, 2])
    joint = confident_joint(np.eye(4)[labels], labels)
    assert joint == pytest.approx(np.diag([0.5, 0.3, 0.2, 0]))
    assert noise_rate(joint) == pytest.approx(0)


TRANSITION = np.array([[0.7, 0.2, 0.1], [0.05, 0.8, 0.15], [0.25, 0.0, 0.75]])
"""Row: the true class; column: the given one."""


@pytest.mark.parametrize("seed", range(3))
def test_injected_noise_is_found_again_in_well_calibrated_probabilities(seed):
    """Probabilities of given labels scatter around the row of the true class, and the given labels are drawn of them.

    20,000 samples: the standard error of a share is at most 0.004.
    """
    drawn = np.random.default_rng(seed)
    true = drawn.choice(3, 20_000, p=[0.5, 0.3, 0.2])
    mean = drawn.standard_gamma(60 * TRANSITION[true])
    mean /= mean.sum(axis=1, keepdims=True)
    labels = (mean.cumsum(axis=1) < drawn.random((len(true), 1))).sum(axis=1)
    actual = np.zeros((3, 3))
    np.add.at(actual, (labels, true), 1 / len(true))
    joint = confident_joint(mean, labels)
    assert joint == pytest.approx(actual, abs=0.015)
    assert noise_rate(joint) == pytest.approx((labels != true).mean(), abs=0.015)
    assert np.abs(joint - joint.T).max() > 0.05  # so that a transposed joint would be noticed
