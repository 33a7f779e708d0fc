"""The paired bootstrap and Holm's correction: closed forms, hand-worked values, and a small coverage simulation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.evaluation.bootstrap import Draws, draw, draw_kinds, resample
from pipeline.evaluation.comparisons import Interval, bootstrap_interval, compare, holm, paired_bootstrap

NAN = float("nan")


def data(n: int = 300, signal: float = 1.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits, targets and groups of one to several images."""
    rng = np.random.default_rng(seed)
    targets = rng.choice(3, size=n, p=(0.2, 0.5, 0.3))
    logits = np.round(rng.normal(size=(n, 3)) + signal * np.eye(3)[targets], 1)
    return logits, targets, rng.integers(n // 2, size=n)


def draws_of(resamples: int, n_seeds: int = 1) -> Draws:
    return draw(np.arange(4), n_seeds, np.random.default_rng(0), resamples=resamples)


@pytest.mark.parametrize(
    ("p_values", "corrected"),
    [
        ([], []),
        ([0.04], [0.04]),
        # times 4, 3, 2, 1 in ascending order, .03 * 2 and .04 * 1: the last may not fall below .06
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        # times 3, 2, 1: .02 * 3 = .06, .025 * 2 = .05 rises to .06, .5 stays
        ([0.5, 0.02, 0.025], [0.5, 0.06, 0.06]),
        ([0.4, 0.6, 0.9], [1.0, 1.0, 1.0]),
        ([0.02, 0.02, 0.02], [0.06, 0.06, 0.06]),
        # two of four are undefined: a family of two
        ([NAN, 0.03, NAN, 0.01], [NAN, 0.03, NAN, 0.02]),
        ([NAN, NAN], [NAN, NAN]),
    ],
)
def test_holm_by_hand(p_values: list[float], corrected: list[float]) -> None:
    np.testing.assert_allclose(holm(p_values), corrected, atol=1e-12)


@given(st.lists(st.floats(0.001, 1), min_size=1, max_size=12))
def test_holm_lies_between_no_correction_and_bonferroni_and_keeps_the_order(p_values: list[float]) -> None:
    values = np.array(p_values)
    corrected = holm(values)
    assert (corrected >= values).all()
    assert (corrected <= np.minimum(1, values * len(values)) + 1e-12).all()
    assert corrected.min() == min(1, values.min() * len(values))
    assert (np.diff(corrected[np.argsort(values)]) >= 0).all()
    np.testing.assert_array_equal(holm(values[::-1]), corrected[::-1])


def test_identical_methods_do_not_differ() -> None:
    logits, targets, groups = data()
    draws = draw(groups, 1, np.random.default_rng(0), resamples=100)
    values = resample("multiclass", [logits], targets, draws)["f1_macro"]
    result = paired_bootstrap(values, values, draws)
    assert (result.difference, result.low, result.high, result.p_value) == (0, 0, 0, 1)
    assert (result.n_groups, result.n_seeds, result.resampled) == (len(np.unique(groups)), 1, "groups")


def test_the_comparison_is_antisymmetric_and_sees_a_plain_difference() -> None:
    good, targets, groups = data(signal=2.0)
    poor = data(signal=0.2, seed=1)[0]
    draws = draw(groups, 1, np.random.default_rng(0), resamples=199)
    a, b = (resample("multiclass", [z], targets, draws)["f1_macro"] for z in (good, poor))
    forward, backward = paired_bootstrap(a, b, draws), paired_bootstrap(b, a, draws)
    assert forward.low > 0
    assert forward.p_value == pytest.approx(2 / 200)
    assert backward.difference == -forward.difference
    assert (backward.low, backward.high) == pytest.approx((-forward.high, -forward.low))


def test_bounds_leave_a_fortieth_of_the_figures_on_either_side() -> None:
    # 39 resamples and the figure itself: one in 40 may lie below the lower bound, one above the upper
    values = np.concatenate([[20.0], np.random.default_rng(0).permutation(np.arange(1.0, 40))])[:, None]
    interval = bootstrap_interval(values, draws_of(39))
    assert (interval.low, interval.value, interval.high) == pytest.approx((1, 20, 39))


@pytest.mark.parametrize(("below", "p_value", "shown"), [(0, 0.01, True), (4, 0.05, True), (5, 0.06, False)])
def test_the_interval_excludes_zero_where_the_p_value_is_at_most_one_in_twenty(below, p_value, shown) -> None:
    found = paired_bootstrap(with_share_below(below, 199), np.zeros((200, 1)), draws_of(199))
    assert found.p_value == pytest.approx(p_value)
    assert (found.low > 0) == shown


def with_share_below(differences: int, resamples: int = 99) -> np.ndarray:
    """Figures of a method, difference 1, of whose resamples `differences` lie below 0 and the others above."""
    return np.array([1.0] + [-1.0] * differences + [1.0] * (resamples - differences))[:, None]


def test_the_pairs_of_a_metric_are_one_family() -> None:
    draws = draws_of(99)
    zero = np.zeros((100, 1))
    # p-values 2 (k + 1) / 100: of f1 .02, .06, .04, of auroc 1 (never different), .02, undefined
    undefined = np.full((100, 1), NAN)
    figures = {
        "ours": {"f1": zero, "auroc": zero},
        "a": {"f1": -with_share_below(0), "auroc": zero},
        "b": {"f1": -with_share_below(2), "auroc": -with_share_below(0)},
        "c": {"f1": -with_share_below(1), "auroc": undefined},
    }
    rows = compare(figures, [("ours", name) for name in "abc"], draws)
    assert list(rows[0]) == [
        "method_a", "method_b", "metric", "difference", "low", "high", "p_value", "p_holm", "n_groups", "n_seeds",
        "resampled",
    ]  # fmt: skip
    assert [(r["method_a"], r["method_b"], r["metric"]) for r in rows] == [
        ("ours", name, metric) for metric in ("f1", "auroc") for name in "abc"
    ]
    assert [r["difference"] for r in rows[:3]] == [1, 1, 1]
    np.testing.assert_allclose([r["p_value"] for r in rows], [0.02, 0.06, 0.04, 1, 0.02, NAN])
    np.testing.assert_allclose([r["p_holm"] for r in rows], [0.06, 0.08, 0.08, 1, 0.04, NAN])
    assert {(r["n_groups"], r["n_seeds"], r["resampled"]) for r in rows} == {(4, 1, "groups")}
    assert compare(figures, [], draws) == []


def test_interval_of_an_accuracy_has_its_binomial_width() -> None:
    # 400 single-image groups, 75 % right: standard error sqrt(.75 * .25 / 400) = 0.02165
    targets = np.zeros(400, dtype=np.int64)
    logits = np.eye(2)[(np.arange(400) % 4 == 0).astype(int)]
    draws = draw(np.arange(400), 1, np.random.default_rng(0), resamples=4000)
    values = resample("multiclass", [logits], targets, draws, metrics=["accuracy"])["accuracy"]
    interval = bootstrap_interval(values, draws)
    assert interval.value == 0.75
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * 0.02165, rel=0.05)
    # one patient with all images leaves nothing to resample
    alone = draw(np.zeros(400), 1, np.random.default_rng(0), resamples=50)
    values = resample("multiclass", [logits], targets, alone, metrics=["accuracy"])["accuracy"]
    assert bootstrap_interval(values, alone) == Interval(0.75, 0.75, 0.75, 1, 1)


def test_images_of_a_patient_widen_the_interval() -> None:
    # the same 400 images, once independent and once as 100 patients whose 4 images are all right or all wrong
    targets = np.zeros(400, dtype=np.int64)
    logits = np.eye(2)[(np.arange(400) // 4 % 4 == 0).astype(int)]
    widths = []
    for groups in (np.arange(400), np.arange(400) // 4):
        draws = draw(groups, 1, np.random.default_rng(0), resamples=2000)
        interval = bootstrap_interval(resample("multiclass", [logits], targets, draws)["recall_macro"], draws)
        widths.append(interval.high - interval.low)
    assert widths[1] / widths[0] == pytest.approx(2, rel=0.1)


def test_drawn_seeds_widen_the_interval_by_their_spread() -> None:
    # no group to speak of: figures 1 to 5 of five seeds, whose mean has the bootstrap variance 2 / 5
    fixed, both = draw_kinds(np.arange(4), 5, np.random.default_rng(0), resamples=4000)
    values = np.tile([1.0, 2, 3, 4, 5], (4001, 1))
    assert bootstrap_interval(values, fixed) == Interval(3, 3, 3, 4, 5)
    interval = bootstrap_interval(values, both)
    assert (interval.value, interval.n_seeds) == (3, 5)
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * np.sqrt(2 / 5), abs=0.21)  # in steps of 0.2


def test_an_undefined_metric_stays_undefined() -> None:
    draws = draw(np.arange(4), 1, np.random.default_rng(0), resamples=9)
    values = resample("multiclass", [np.eye(2)[[0, 0, 1, 0]]], np.zeros(4, dtype=np.int64), draws)["auroc_macro"]
    result = paired_bootstrap(values, values, draws)
    assert np.isnan([result.difference, result.low, result.high, result.p_value, result.p_holm]).all()


def test_resamples_that_leave_a_metric_undefined_are_left_out_of_the_interval() -> None:
    values = np.array([0.5, NAN, 0.25, 0.25, NAN])[:, None]
    assert bootstrap_interval(values, draws_of(4)) == Interval(0.5, 0.25, 0.25, 4, 1)


def covered(trials: int, images: int) -> tuple[float, float]:
    """Of two methods, right on 80 and 70 % of patients with `images` images each, how often the interval holds 0.1.

    Resampled are patients, and, for the second figure, images as if each were a patient.
    """
    rng = np.random.default_rng(0)
    held = np.zeros(2)
    patients = np.arange(120 * images) // images
    targets = np.zeros(len(patients), dtype=np.int64)
    for _ in range(trials):
        wrong = np.repeat(rng.random((120, 2)) >= (0.8, 0.7), images, axis=0).astype(int)
        for i, groups in enumerate((patients, np.arange(len(patients)))):
            draws = draw(groups, 1, rng, resamples=200)
            a, b = (
                resample("multiclass", [np.eye(2)[wrong[:, m]]], targets, draws, metrics=["accuracy"])["accuracy"]
                for m in range(2)
            )
            result = paired_bootstrap(a, b, draws)
            held[i] += result.low <= 0.1 <= result.high
    return held[0] / trials, held[1] / trials


def test_intervals_cover_the_true_difference_and_would_not_without_groups() -> None:
    of_patients, of_images = covered(trials=400, images=4)
    assert 0.91 < of_patients < 0.98
    assert of_images < 0.80, "four alike images of a patient halve an interval that takes them for four patients"
