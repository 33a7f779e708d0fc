"""How often does a 95 % interval of a difference hold the true difference? On simulated tests whose truth is known.

Two methods, each trained with several seeds, answer the same images of three classes. An image's logits are its class
times the run's signal plus noise of its group (one patient's images resemble each other), of its group in the eyes of
one method, of the image, and of the run. A run's signal is its method's plus the luck of its seed. All of the noise is
normal and the same for every image, so a run's figure on endless test data depends on its signal alone: it is measured
on TRUTH_IMAGES single images. With the seeds fixed the truth is the difference of these very runs; with seeds
resampled, that of all runs the two methods could give.

It takes a core minutes and comes out the same on every machine, so it runs only when it is named.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.polynomial import Polynomial
from scipy.stats import binomtest

from benchmarks.rows import Row
from pipeline.common.seeds import stream
from pipeline.evaluation.bootstrap import Draws, draw, draw_seeds, resample
from pipeline.evaluation.comparisons import compare
from pipeline.evaluation.metrics import epoch_metrics
from pipeline.params.tree import Params

TESTS, RESAMPLES, GROUPS = 2000, 400, 300
SIZES, SIZE_SHARES = (1, 2, 3, 6), (0.5, 0.25, 0.15, 0.1)
"""How many images a group has: 2 on average."""
CLASS_SHARES = (0.5, 0.3, 0.2)
SIGNALS = {"a": 1.9, "b": 1.7}
SEED_SD = 0.1
"""Spread of the signal over seeds, which moves a run's macro F1 by 0.02 and its AUROC by 0.01."""
GROUP_SD, GROUP_METHOD_SD, IMAGE_SD, RUN_SD = 0.6, 0.4, 0.5, 0.6
SEEDS = (5, 10)
METRICS = {"f1_macro": "f1", "auroc_macro": "auroc"}
LOW, HIGH = 0.93, 0.97
TRUTH_IMAGES, TRUTH_SIGNALS = 200_000, np.linspace(1.2, 2.4, 7)

Curve = dict[str, Polynomial]
"""{metric: figure on endless test data as a function of a run's signal}."""
Held = dict[tuple[str, str, int], bool]
"""Whether the interval held the truth, by (metric, what was resampled, number of seeds)."""


@dataclass(frozen=True)
class Simulated:
    """A simulated test split and what the runs say about it; `signals` and `logits` by method, then by seed."""

    groups: np.ndarray
    targets: np.ndarray
    signals: dict[str, np.ndarray]
    logits: dict[str, list[np.ndarray]]


def measure(params: Params) -> list[Row]:
    """Return the share of intervals that hold the truth, for each metric, number of seeds and kind of resampling."""
    found = list(trials(TESTS))
    return [row(key, [held[key] for held in found]) for key in sorted(found[0], key=lambda key: key[1:])]


def row(key: tuple[str, str, int], held: list[bool]) -> Row:
    """Coverage with its own 95 % interval (Wilson); a target where the seeds are fixed."""
    metric, resampled, seeds = key
    fixed = resampled == "groups"
    share = float(np.mean(held))
    interval = binomtest(sum(held), len(held)).proportion_ci(method="wilson")
    return Row(
        name=f"coverage_{'fixed' if fixed else 'drawn'}_{seeds}_{METRICS[metric]}",
        median=share,
        low=float(interval.low),
        high=float(interval.high),
        target=f"{LOW:.2f} to {HIGH:.2f}" if fixed else "report",
        met=LOW <= share <= HIGH or not fixed,
        n=len(held),
        what=f"share of 95 % intervals of a difference in {metric} that hold the truth, {seeds} seeds "
        f"{'fixed' if fixed else 'resampled'}; {GROUPS} groups of 1 to {max(SIZES)} images, {RESAMPLES} resamples",
    )


def trials(tests: int) -> Iterator[Held]:
    """Simulate tests one after another and say of each which intervals hold the truth."""
    curve = truth_curve()
    expected = {metric: _over_all_seeds(curve[metric]) for metric in METRICS}
    for i in range(tests):
        rng = stream(0, "coverage", i)
        test = simulate(rng, max(SEEDS))
        draws = draw(test.groups, max(SEEDS), rng, resamples=RESAMPLES)
        figures = {
            method: resample("multiclass", logits, test.targets, draws, metrics=list(METRICS))
            for method, logits in test.logits.items()
        }
        held: Held = {}
        for seeds in SEEDS:
            first = {m: {name: v[:, :seeds] for name, v in values.items()} for m, values in figures.items()}
            fixed = replace(draws, seed_shares=np.full((RESAMPLES + 1, seeds), 1 / seeds))
            these = {name: _over_these_seeds(curve[name], test, seeds) for name in METRICS}
            held |= _held(first, fixed, these) | _held(first, draw_seeds(fixed, rng), expected)
        yield held


def _held(figures: dict[str, dict[str, np.ndarray]], draws: Draws, truth: dict[str, float]) -> Held:
    seeds = draws.seed_shares.shape[1]
    return {
        (one["metric"], one["resampled"], seeds): one["low"] <= truth[one["metric"]] <= one["high"]
        for one in compare(figures, [("a", "b")], draws)
    }


def simulate(rng: np.random.Generator, n_seeds: int) -> Simulated:
    """Draw a test split and the logits (N, 3) of every run."""
    sizes = rng.choice(SIZES, size=GROUPS, p=SIZE_SHARES)
    groups = np.repeat(np.arange(GROUPS), sizes)
    targets = rng.choice(len(CLASS_SHARES), size=GROUPS, p=CLASS_SHARES)[groups]
    N, C = len(groups), len(CLASS_SHARES)
    shared = GROUP_SD * rng.normal(size=(GROUPS, C))[groups] + IMAGE_SD * rng.normal(size=(N, C))
    signals, logits = {}, {}
    for method, signal in SIGNALS.items():
        signals[method] = signal + SEED_SD * rng.normal(size=n_seeds)
        own = shared + GROUP_METHOD_SD * rng.normal(size=(GROUPS, C))[groups]
        logits[method] = [one * np.eye(C)[targets] + own + RUN_SD * rng.normal(size=(N, C)) for one in signals[method]]
    return Simulated(groups, targets, signals, logits)


def truth_curve() -> Curve:
    """Fit what each metric is on endless test data as a cubic of the signal."""
    rng = stream(0, "coverage truth", 0)
    C = len(CLASS_SHARES)
    targets = rng.choice(C, size=TRUTH_IMAGES, p=CLASS_SHARES)
    sd = np.linalg.norm([GROUP_SD, GROUP_METHOD_SD, IMAGE_SD, RUN_SD])
    noise = sd * rng.normal(size=(TRUTH_IMAGES, C))
    found = [epoch_metrics("multiclass", signal * np.eye(C)[targets] + noise, targets) for signal in TRUTH_SIGNALS]
    return {metric: Polynomial.fit(TRUTH_SIGNALS, [one[metric] for one in found], 3) for metric in METRICS}


def _over_these_seeds(curve: Polynomial, test: Simulated, seeds: int) -> float:
    return float(np.mean(curve(test.signals["a"][:seeds]) - curve(test.signals["b"][:seeds])))


def _over_all_seeds(curve: Polynomial) -> float:
    points, weights = np.polynomial.hermite_e.hermegauss(9)
    luck = SEED_SD * points
    return float(weights @ (curve(SIGNALS["a"] + luck) - curve(SIGNALS["b"] + luck)) / weights.sum())
