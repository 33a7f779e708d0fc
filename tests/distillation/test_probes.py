"""Probes on features: separable classes, votes worked out by hand and by a plain loop, classes without samples."""

import numpy as np
import pytest
from scipy.special import expit, softmax

from pipeline.distillation.probes import LEAST, linear_probes, nearest, neighbours

CENTRES = np.array([[4.0, 0, 0], [0, 4, 0], [0, 0, 4]], np.float32)
SURE, NEVER = np.log((1 - LEAST) / LEAST), np.log(LEAST / (1 - LEAST))


def blobs(labels: np.ndarray, seed: int = 0) -> np.ndarray:
    """Each sample about the centre of its class, standard deviation 0.5."""
    return CENTRES[labels] + np.random.default_rng(seed).normal(0, 0.5, (len(labels), 3)).astype(np.float32)


def findings(labels: np.ndarray) -> np.ndarray:
    """Class 0 has the first finding, class 1 the second, class 2 both."""
    return np.array([[1, 0], [0, 1], [1, 1]], np.float32)[labels]


def test_a_linear_probe_separates_what_can_be_separated():
    train, unseen = np.arange(60) % 3, np.arange(30) % 3
    probes = linear_probes(blobs(train), train, "multiclass", 3)
    assert list(probes) == ["C 0.0001", "C 0.001", "C 0.01", "C 0.1", "C 1"]
    sure = []
    for probe in probes.values():
        logits = probe(blobs(unseen, seed=1))
        assert logits.dtype == np.float32
        assert np.exp(logits).sum(axis=1) == pytest.approx(np.ones(30), abs=1e-5)
        assert (logits.argmax(axis=1) == unseen).all()
        sure.append(np.exp(logits).max(axis=1).mean())
    assert sure == sorted(sure)
    assert sure[0] < 0.4
    assert sure[-1] > 0.9


def test_a_linear_probe_finds_each_finding_on_its_own():
    train, unseen = np.arange(60) % 3, np.arange(30) % 3
    logits = linear_probes(blobs(train), findings(train), "multilabel", 2)["C 1"](blobs(unseen, seed=1))
    assert logits.shape == (30, 2)
    assert ((logits > 0) == findings(unseen)).all()
    alone = linear_probes(blobs(train), findings(train)[:, :1], "multilabel", 1)["C 1"](blobs(unseen, seed=1))
    assert logits[:, :1] == pytest.approx(alone)


def test_units_of_features_do_not_matter_to_a_linear_probe():
    train, unseen = np.arange(60) % 3, blobs(np.arange(30) % 3, seed=1)
    scale, shift = np.array([1, 1000, 0.01], np.float32), np.array([5, 0, -3], np.float32)
    for task, labels in (("multiclass", train), ("multilabel", findings(train))):
        size = 3 if task == "multiclass" else 2
        plain = linear_probes(blobs(train), labels, task, size)["C 0.1"](unseen)  # type: ignore[arg-type]
        scaled = linear_probes(blobs(train) * scale + shift, labels, task, size)["C 0.1"]  # type: ignore[arg-type]
        assert scaled(unseen * scale + shift) == pytest.approx(plain, abs=2e-2)


def test_features_that_say_nothing_give_the_classes_shares():
    """30, 20 and 10 of 60: the penalty leaves the intercepts alone."""
    labels = np.repeat([0, 1, 2], [30, 20, 10])
    features = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    probabilities = np.exp(linear_probes(features, labels, "multiclass", 3)["C 0.0001"](features))
    assert probabilities == pytest.approx(np.tile([1 / 2, 1 / 3, 1 / 6], (60, 1)), abs=0.02)


@pytest.mark.parametrize("make", [linear_probes, neighbours])
def test_a_class_without_samples_has_the_probability_zero(make):
    """Of four classes the second has none."""
    labels = np.array([0, 2, 3])[np.arange(60) % 3]
    features = blobs(np.arange(60) % 3)
    for answer in make(features, labels, "multiclass", 4).values():
        logits = answer(features)
        assert logits.shape == (60, 4)
        assert logits[:, 1] == pytest.approx(np.full(60, np.log(LEAST)), rel=1e-5)
        assert np.exp(logits).sum(axis=1) == pytest.approx(np.ones(60), abs=1e-4)


@pytest.mark.parametrize("make", [linear_probes, neighbours])
def test_a_finding_that_nobody_or_everybody_has_is_sure(make):
    labels = np.stack([np.zeros(60), np.arange(60) % 2, np.ones(60)], axis=1).astype(np.float32)
    features = blobs(np.arange(60) % 2)
    for answer in make(features, labels, "multilabel", 3).values():
        logits = answer(features)
        assert logits[:, 0] == pytest.approx(np.full(60, NEVER), rel=1e-5)
        assert logits[:, 2] == pytest.approx(np.full(60, SURE), rel=1e-2)  # 1 - 1e-6 in float32
        assert ((logits[:, 1] > 0) == labels[:, 1]).all()


EAST, NORTH, SOUTH = [3.0, 0.0], [0.0, 2.0], [0.0, -1.0]
KNOWN, LABELS = np.array([EAST, EAST, SOUTH, NORTH, NORTH], np.float32), np.array([0, 0, 0, 1, 1])
QUERY = np.array([[6.0, 8.0]], np.float32)
"""Its similarity with east is 0.6, with north 0.8, with south -0.8."""


def test_votes_of_neighbours_count_with_similarity_and_weight_of_label():
    """Five samples leave each four neighbours, all the others.

    Of these two have the label of a 0 (weight 1/2), one that of a 1 (1/4). The query's four nearest are east and north:
    2 * 0.6 / 2 against 2 * 0.8 / 4, 0.6 to 0.4. Without the weights of labels it would be 3 to 4.
    """
    for answer in neighbours(KNOWN, LABELS, "multiclass", 3).values():
        assert np.exp(answer(QUERY)[0]) == pytest.approx([0.6, 0.4, LEAST], rel=1e-5)


def test_votes_on_findings_weigh_absence_as_presence():
    """The first finding as the label 1 above; its opposite; and one of a single sample, which no neighbour repeats."""
    single = np.array([0, 0, 0, 0, 1])
    labels = np.stack([LABELS, 1 - LABELS, single], axis=1).astype(np.float32)
    logits = neighbours(KNOWN, labels, "multilabel", 3)["k 5"](QUERY)[0]
    assert expit(logits) == pytest.approx([0.4, 0.6, LEAST], rel=1e-4)


def by_hand(features: np.ndarray, labels: np.ndarray, k: int, queries: np.ndarray, finding: int | None) -> np.ndarray:
    """The votes of `neighbours`, sample by sample: (Q, C) for classes, (Q,) for one finding."""
    k = min(k, len(features) - 1)
    given = labels if finding is None else labels[:, finding].astype(int)

    def around(query: np.ndarray, left_out: int | None) -> list[tuple[float, int]]:
        likeness = [float(query @ one / np.linalg.norm(query) / np.linalg.norm(one)) for one in features]
        return sorted(((s, place) for place, s in enumerate(likeness) if place != left_out), reverse=True)[:k]

    weights = [
        sum(given[other] == given[place] for _, other in around(features[place], place)) / k
        for place in range(len(features))
    ]
    found = np.zeros((len(queries), given.max() + 1))
    for row, query in zip(found, queries, strict=True):
        for similarity, place in around(query, None):
            row[given[place]] += max(similarity, LEAST) * max(weights[place], LEAST)
        row /= row.sum()
    return found if finding is None else found[:, 1]


def test_neighbours_vote_as_a_plain_loop_does():
    drawn = np.random.default_rng(0)
    features, labels, queries = drawn.normal(0.5, size=(40, 3)), drawn.integers(0, 3, 40), drawn.normal(size=(7, 3))
    both = findings(labels)
    of_class, of_finding = neighbours(features, labels, "multiclass", 3), neighbours(features, both, "multilabel", 2)
    assert list(of_class) == list(of_finding) == ["k 5", "k 10", "k 20", "k 50", "k 100"]
    for name in of_class:
        k = int(name.split()[1])
        logits = of_class[name](queries)
        assert logits.dtype == np.float32
        expected = np.clip(by_hand(features, labels, k, queries, None), LEAST, None)
        assert np.exp(logits) == pytest.approx(expected, rel=1e-4)
        assert softmax(logits, axis=1) == pytest.approx(expected, rel=1e-4)
        for finding in range(2):
            expected = np.clip(by_hand(features, both, k, queries, finding), LEAST, 1 - LEAST)
            assert expit(of_finding[name](queries)[:, finding]) == pytest.approx(expected, rel=1e-4)


def test_a_wrong_label_among_right_ones_counts_little():
    """Ten of class 0 in one direction, of which one is labelled 1, and ten of class 1 in the other."""
    noise = np.random.default_rng(0).normal(0, 0.01, (20, 2))
    features = np.repeat(np.array([[1.0, 0.0], [0.0, 1.0]]), 10, axis=0) + noise
    labels = np.repeat([0, 1], 10)
    labels[3] = 1
    query = features[3:4]
    assert np.exp(neighbours(features, labels, "multiclass", 2)["k 5"](query))[0, 0] > 0.95


@pytest.mark.parametrize("block", [1, 3, 1024])
@pytest.mark.parametrize("k", [1, 4, 7])
def test_the_nearest_are_found_block_by_block(block, k):
    known = np.random.default_rng(0).normal(size=(8, 3))
    known /= np.linalg.norm(known, axis=1, keepdims=True)
    for leave_out_self in (True, False):
        similarity, places = nearest(known, known, k, leave_out_self=leave_out_self, block=block)
        assert similarity.shape == places.shape == (8, k)
        for row in range(8):
            likeness = known @ known[row]
            order = [place for place in np.argsort(-likeness) if not (leave_out_self and place == row)][:k]
            assert set(places[row]) == set(order)
            assert similarity[row] == pytest.approx(likeness[places[row]])
