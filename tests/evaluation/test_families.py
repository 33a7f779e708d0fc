"""The statistics of several methods: each one's interval, and comparisons in two families."""

import numpy as np
import pytest

from pipeline.common.seeds import stream
from pipeline.evaluation.bootstrap import draw_kinds
from pipeline.evaluation.comparisons import bootstrap_interval, holm, paired_bootstrap
from pipeline.evaluation.families import statistics
from pipeline.evaluation.predictions import RESAMPLED, resampled
from tests.evaluation.judged import answers_to, truth_of

GROUPS = np.arange(80) // 2
TRUTH = truth_of("multiclass")
METRICS = RESAMPLED["multiclass"]


def answers(n_seeds: int) -> dict:
    keys = [("baseline_3", "last"), ("baseline_3_same", "last"), ("baseline_5", "last"), ("baseline_5", "smoothed"),
            ("roskd", "smoothed")]  # fmt: skip
    return {
        key: [answers_to(TRUTH, 10 * place + seed, 0.5 + place / 4) for seed in range(n_seeds)]
        for place, key in enumerate(keys)
    }


def test_intervals_have_the_figure_of_the_test_split_and_the_spread_of_the_seeds():
    found = answers(2)
    intervals, _ = statistics(TRUTH, found, GROUPS, seed=7)
    draws = draw_kinds(GROUPS, 2, stream(7, "bootstrap", 0))[0]
    assert [(row["method"], row["checkpoint"], row["metric"]) for row in intervals] == [
        (*key, metric) for key in found for metric in METRICS
    ]
    for row in intervals:
        values = resampled(TRUTH, found[row["method"], row["checkpoint"]], draws)[row["metric"]]
        expected = bootstrap_interval(values, draws)
        assert (row["value"], row["low"], row["high"]) == (expected.value, expected.low, expected.high)
        assert row["sd"] == pytest.approx(abs(values[0, 0] - values[0, 1]) / np.sqrt(2))
        assert (row["n_groups"], row["n_seeds"]) == (40, 2)


def test_a_single_seed_has_no_spread():
    intervals, _ = statistics(TRUTH, answers(1), GROUPS, seed=0)
    assert np.isnan([row["sd"] for row in intervals]).all()


def test_the_checkpoint_that_a_method_reports_is_compared_in_its_family():
    found = answers(1)
    _, comparisons = statistics(TRUTH, found, GROUPS, seed=0)
    draws = draw_kinds(GROUPS, 1, stream(0, "bootstrap", 0))[0]
    pairs = [(row["method_a"], row["method_b"]) for row in comparisons if row["metric"] == METRICS[0]]
    assert pairs == [
        ("roskd", "baseline_3"), ("roskd", "baseline_3_same"), ("roskd", "baseline_5"),
        ("baseline_3_same", "baseline_3"), ("baseline_5", "baseline_3_same"),
    ]  # fmt: skip
    own = {method: resampled(TRUTH, by_seed, draws) for (method, one), by_seed in found.items()
           if one == ("smoothed" if method == "roskd" else "last")}  # fmt: skip
    for metric in METRICS:
        rows = [row for row in comparisons if row["metric"] == metric]
        for row in rows:
            alone = paired_bootstrap(own[row["method_a"]][metric], own[row["method_b"]][metric], draws)
            assert (row["difference"], row["p_value"]) == (alone.difference, alone.p_value)
        p_values = [row["p_value"] for row in rows]
        assert [row["p_holm"] for row in rows] == [*holm(p_values[:3]), *holm(p_values[3:])]


@pytest.mark.parametrize(("n_seeds", "kinds"), [(4, ["groups"]), (5, ["groups", "groups+seeds"])])
def test_seeds_are_resampled_too_from_five_on_after_those_with_the_seeds_fixed(n_seeds, kinds):
    _, comparisons = statistics(TRUTH, answers(n_seeds), GROUPS, seed=0)
    assert [row["resampled"] for row in comparisons] == [kind for kind in kinds for _ in range(5 * len(METRICS))]
    assert {row["n_seeds"] for row in comparisons} == {n_seeds}


def test_the_resamples_are_those_of_the_seed_and_the_same_for_every_method():
    found = answers(1)
    found["baseline_3", "last"] = found["roskd", "smoothed"]

    def bounds(seed: int) -> list[tuple[float, float]]:
        intervals, comparisons = statistics(TRUTH, found, GROUPS, seed)
        alike = [row for row in comparisons if row["method_b"] == "baseline_3" and row["method_a"] == "roskd"]
        assert [(row["difference"], row["low"], row["high"], row["p_value"]) for row in alike] == [(0, 0, 0, 1)] * len(
            METRICS
        )
        return [(row["low"], row["high"]) for row in intervals]

    assert bounds(3) == bounds(3) != bounds(4)
