"""Label noise: realised rates, untouched test labels, one draw per row; over sizes, class counts and rates."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data import noise
from pipeline.data.noise_matrix import nominal
from pipeline.params.tree import NoiseParams

KINDS = ["none", "symmetric", "pair", "instance"]
SEEDS = st.integers(0, 2**31 - 2)


def params(kind: str, **changes: object) -> NoiseParams:
    return NoiseParams(
        **(
            {
                "kind": kind,
                "rate": 0.3,
                "matrix": "noise.csv",
                "miss_rate": 0.2,
                "false_rate": 0.05,
                "per": "image",
                "seed": 0,
            }
            | changes
        )
    )


def corrupted(targets: np.ndarray, C: int, p: NoiseParams, affected: np.ndarray | None = None) -> np.ndarray:
    """The given labels; images, where the kind reads them, are one random picture for each row."""
    images = np.random.default_rng(1).integers(0, 256, (len(targets), 4, 4, 1), dtype=np.uint8)
    everywhere = np.ones(len(targets), dtype=bool) if affected is None else affected
    transition = nominal(p, [f"c{i}" for i in range(C)])
    return noise.corrupt(targets, everywhere, C, p, transition=transition, images=images)


def bound(rate: float | np.ndarray, n: int | np.ndarray) -> np.ndarray:
    """Five standard deviations of a share of n draws; three draws more, for the skew where few are expected."""
    return 5 * np.sqrt(rate * (1 - rate) / n) + 3 / n


def test_flip_has_separate_rates_for_missed_and_false_findings():
    targets = np.array([[1, 0], [1, 0], [0, 1]], dtype=np.float32)
    uniforms = np.array([[0.19, 0.04], [0.21, 0.06], [0.049, 0.5]])
    assert noise.flip(targets, 0.2, 0.05, uniforms).tolist() == [[0, 1], [1, 0], [1, 1]]


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(KINDS), st.integers(2, 12), st.integers(1, 5000), st.floats(0, 0.99), SEEDS)
def test_the_realised_rate_is_the_nominal_one_within_sampling_error(kind, C, N, rate, seed):
    targets = np.random.default_rng(seed).integers(0, C, N)
    given_labels = corrupted(targets, C, params(kind, rate=rate, seed=seed))
    assert given_labels.dtype == targets.dtype
    assert set(given_labels.tolist()) <= set(range(C))
    realised = noise.changed(given_labels, targets).mean()
    expected = 0 if kind == "none" else rate
    assert abs(realised - expected) <= bound(expected, N)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(["symmetric", "pair"]), st.integers(2, 12), st.floats(0, 0.99), SEEDS)
def test_every_row_of_the_realised_matrix_is_the_nominal_one_within_sampling_error(kind, C, rate, seed):
    N = 6000
    targets = np.random.default_rng(seed).integers(0, C, N)
    p = params(kind, rate=rate, seed=seed)
    given_labels = corrupted(targets, C, p)
    expected = nominal(p, [f"c{i}" for i in range(C)])
    for label in range(C):
        own = given_labels[targets == label]
        realised = np.bincount(own, minlength=C) / len(own)
        assert (np.abs(realised - expected[label]) <= bound(expected[label], len(own))).all()
        assert (realised[expected[label] == 0] == 0).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 12), st.integers(1, 3000), st.floats(0, 0.99), st.floats(0, 0.99), SEEDS)
def test_findings_are_missed_and_added_at_their_own_rates(C, N, miss, false, seed):
    targets = (np.random.default_rng(seed).random((N, C)) < 0.3).astype(np.float32)
    p = params("flip", miss_rate=miss, false_rate=false, seed=seed)
    given_labels = corrupted(targets, C, p)
    assert given_labels.dtype == np.float32
    for present, rate in ((targets > 0, miss), (targets == 0, false)):
        n = np.count_nonzero(present)
        if n:
            assert abs((given_labels != targets)[present].mean() - rate) <= bound(rate, n)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([*KINDS, "flip", "none of several"]), st.integers(2, 12), st.integers(2, 400), SEEDS)
def test_labels_outside_train_and_validation_are_never_touched_and_seeds_decide(kind, C, N, seed):
    rng = np.random.default_rng(seed)
    several = kind in ("flip", "none of several")
    targets = (rng.random((N, C)) < 0.3).astype(np.float32) if several else rng.integers(0, C, N)
    affected = rng.random(N) < 0.7
    p = params(kind.split()[0], rate=0.9, miss_rate=0.9, false_rate=0.9, seed=seed)
    given_labels = corrupted(targets, C, p, affected)
    assert (given_labels[~affected] == targets[~affected]).all()
    assert (given_labels == corrupted(targets, C, p, affected)).all()
    if p.kind != "none" and affected.sum() > 100:
        other = params(p.kind, rate=0.9, miss_rate=0.9, false_rate=0.9, seed=seed + 1)
        assert (given_labels != corrupted(targets, C, other, affected)).any()


@pytest.mark.parametrize("kind", ["symmetric", "instance", "flip"])
def test_a_rows_noise_depends_neither_on_the_rows_after_it_nor_on_the_splits(kind):
    targets = np.eye(4, dtype=np.float32)[np.arange(500) % 4] if kind == "flip" else np.arange(500) % 4
    whole = corrupted(targets, 4, params(kind))
    affected = np.arange(500) % 3 > 0
    assert (whole != targets).any()
    assert (corrupted(targets[:200], 4, params(kind)) == whole[:200]).all()
    assert (corrupted(targets, 4, params(kind), affected)[affected] == whole[affected]).all()


def test_changed_marks_rows_with_any_other_label():
    assert noise.changed(np.array([1, 2]), np.array([1, 0])).tolist() == [False, True]
    assert noise.changed(np.array([[1, 0], [1, 1]]), np.array([[1, 0], [0, 1]])).tolist() == [False, True]


@pytest.mark.parametrize("several", [False, True])
def test_per_group_all_images_of_a_group_are_changed_alike_at_the_nominal_rate(several):
    N, C, per_group = 6000, 5, 3
    groups = np.array([f"g{i // per_group}" for i in range(N)])
    first = np.arange(N) // per_group * per_group
    kind = "flip" if several else "symmetric"
    p = params(kind, rate=0.3, miss_rate=0.3, false_rate=0.3, per="group")
    targets = np.random.default_rng(0).integers(0, 2 if several else C, (N, C) if several else N)[first]
    transition = None if several else nominal(p, [f"c{i}" for i in range(C)])

    def given_labels(p: NoiseParams) -> np.ndarray:
        everywhere = np.ones(N, dtype=bool)
        return noise.corrupt(targets, everywhere, C, p, transition=transition, groups=groups)

    alike = given_labels(p)
    assert (alike == alike[first]).all()
    assert (alike != targets).mean() == pytest.approx(0.3, abs=0.04)
    singly = given_labels(params(kind, rate=0.3, miss_rate=0.3, false_rate=0.3))
    assert (singly[first] == alike[first]).all()  # the first of a group keeps its draw
    assert not (singly == singly[first]).all()


def test_a_group_with_images_of_several_classes_is_changed_alike_within_each_class():
    p = params("pair", rate=0.5, per="group")
    targets, groups = np.array([0, 1, 2, 0] * 200), np.repeat([f"g{i}" for i in range(200)], 4)
    transition = nominal(p, ["a", "b", "c"])
    given_labels = noise.corrupt(targets, np.ones(800, dtype=bool), 3, p, transition=transition, groups=groups)
    of_group = given_labels.reshape(200, 4)
    assert (of_group[:, 0] == of_group[:, 3]).all()
    assert set(of_group[:, 0].tolist()) == {0, 1}
