"""How often intervals hold the truth: the simulated tests, their truth, and the rows."""

import numpy as np
import pytest
from scipy.stats import norm

from benchmarks import (
    coverage,
)
from pipeline.params.file import load


@pytest.mark.parametrize(
    ("key", "hits", "expected"),
    [
        (("f1_macro", "groups", 5), 95, ("coverage_fixed_5_f1", 0.95, "0.93 to 0.97", True)),
        (("auroc_macro", "groups", 10), 90, ("coverage_fixed_10_auroc", 0.90, "0.93 to 0.97", False)),
        (("f1_macro", "groups+seeds", 5), 90, ("coverage_drawn_5_f1", 0.90, "report", True)),
    ],
)
def test_coverage_is_held_against_its_target_where_seeds_are_fixed(key, hits, expected):
    row = coverage.row(key, [True] * hits + [False] * (100 - hits))
    assert (row.name, row.median, row.target, row.met) == expected
    assert row.n == 100
    if hits == 95:  # Wilson's interval: (.95 + z²/200 ± z sqrt(.95 * .05 / 100 + z²/40000)) / (1 + z²/100), z = 1.96
        assert (row.low, row.high) == pytest.approx((0.8882, 0.9785), abs=1e-4)


def test_the_truth_of_a_simulated_run_is_its_integral():
    # of three classes, class c is called where its normal logit is above two others: an integral in one dimension
    signal, sd = 1.8, np.sqrt(0.6**2 + 0.4**2 + 0.5**2 + 0.6**2)
    points = np.linspace(-8, 8, 4001)
    right = np.trapezoid(norm.pdf(points) * norm.cdf(points + signal / sd) ** 2, points)
    shares = np.array(coverage.CLASS_SHARES)
    called = shares * right + (1 - shares) * (1 - right) / 2
    f1 = np.mean(2 * shares * right / (shares + called))
    assert coverage.truth_curve()["f1_macro"](signal) == pytest.approx(f1, abs=0.003)


def test_coverage_at_a_tiny_size(monkeypatch):
    for name, value in {"TESTS": 3, "GROUPS": 40, "RESAMPLES": 39, "TRUTH_IMAGES": 2000}.items():
        monkeypatch.setattr(coverage, name, value)
    found = coverage.measure(load())
    assert [row.name for row in found] == [
        f"coverage_{kind}_{seeds}_{metric}"
        for kind in ("fixed", "drawn")
        for seeds in (5, 10)
        for metric in ("f1", "auroc")
    ]
    assert {row.n for row in found} == {3}
    assert "10 seeds resampled; 40 groups of 1 to 6 images, 39 resamples" in found[-1].what
    assert [row.median for row in coverage.measure(load())] == [row.median for row in found]
