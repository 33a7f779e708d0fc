"""The loss around the students' weights: what was measured, a table of sharpness, and which student is flatter."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import t as student_t

from pipeline.distillation.methods import METHODS, SUBJECT, ordered
from pipeline.report.results import Results
from pipeline.report.tables import Row

MEASURES = {"top_eigenvalue": "top eigenvalue", "trace": "trace"}
"""Of the Hessian; lower is flatter."""
HEADS = ("Loss at the centre (nats)", "Top eigenvalue", "Trace")
CONFIDENCE = 0.95
NORMAL = 1.96
"""Standard errors to either side in a 95 % interval of one network."""


@dataclass(frozen=True)
class Estimate:
    """A measure of one method: its mean over seeds, standard error, and 95 % interval.

    Of one seed the error is the network's own: for the eigenvalue over the choice of images, for the trace over random
    vectors. Of several it is the standard error over seeds, and the interval is Student's.
    """

    value: float
    error: float
    low: float
    high: float

    @property
    def text(self) -> str:
        """`247 ± 49`: three digits of the value at least, the error with as many decimals."""
        size = np.floor(np.log10(abs(self.value))) if self.value else 0
        decimals = int(np.clip(2 - size, 0, 9))
        return f"{self.value:,.{decimals}f} ± {self.error:,.{decimals}f}".replace("-", "−")

    def overlaps(self, other: "Estimate") -> bool:
        """Whether the two intervals have a value in common."""
        return self.low <= other.high and other.low <= self.high


def measured(results: Results) -> dict[str, dict[int, dict[str, Any]]]:
    """Return {method: {seed: content of sharpness.json}} of the methods that were looked at, in the tables' order."""
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for method in ordered(set(results.params.landscape.methods) & set(results.methods)):
        for seed in results.seeds:
            path = results.layout.sharpness(seed, method)
            if path.is_file():
                found.setdefault(method, {})[seed] = json.loads(path.read_text(encoding="utf-8"))
    return found


def estimate(by_seed: dict[int, dict[str, Any]], measure: str) -> Estimate:
    """Return a measure of one method over its seeds."""
    values = np.array([one[measure]["value"] for one in by_seed.values()])
    if len(values) == 1:
        (own,) = by_seed.values()
        value, error, reach = values[0], own[measure]["standard_error"], NORMAL
    else:
        value, error = values.mean(), values.std(ddof=1) / np.sqrt(len(values))
        reach = student_t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)
    return Estimate(float(value), float(error), float(value - reach * error), float(value + reach * error))


def rows(results: Results) -> list[Row]:
    """One row per method: HEADS as text."""
    return [
        Row(
            METHODS[method].title,
            [
                f"{np.mean([one['loss'] for one in by_seed.values()]):.3f}",
                *(estimate(by_seed, measure).text for measure in MEASURES),
            ],
            kind="ours" if method == SUBJECT else "",
        )
        for method, by_seed in measured(results).items()
    ]


def sentences(results: Results) -> list[str]:
    """Return which student is flatter, for the head of the section; why there is nothing to say, where there is not."""
    found = measured(results)
    if not found:
        return ["No landscape was computed: no method of landscape.methods is in methods, or the stage has not run."]
    others = [method for method in found if method != SUBJECT] if SUBJECT in found else []
    verdicts = [verdict(found, SUBJECT, other, measure) for other in others for measure in MEASURES]
    if verdicts and any(len(by_seed) == 1 for by_seed in found.values()):
        verdicts.append("This is one network of each method: whether the methods differ takes several seeds.")
    return [*verdicts, *_unconverged(found)]


def verdict(found: dict[str, dict[int, dict[str, Any]]], method: str, other: str, measure: str) -> str:
    """Return which of two methods is flatter by one measure: shown only where intervals over seeds do not overlap."""
    one, two = sorted((method, other), key=lambda name: estimate(found[name], measure).value)
    flatter, sharper = (estimate(found[name], measure) for name in (one, two))
    (first, second), by = (METHODS[name].title for name in (one, two)), f"By {MEASURES[measure]}"
    overlap, seeds = flatter.overlaps(sharper), min(len(found[name]) for name in (method, other))
    whose = "networks" if seeds == 1 else f"means over {seeds} seeds"
    figures = (
        f"{first} has {flatter.text}, {second} {sharper.text}, and the 95 % intervals of the two {whose} "
        f"{'overlap' if overlap else 'do not overlap'}"
    )
    if seeds == 1:
        claim = "the two networks cannot be told apart" if overlap else f"the network of {first} is the flatter one"
    else:
        claim = "no difference is shown" if overlap else f"{first} is shown to be flatter"
    return f"{by} {claim}: {figures}."


def _unconverged(found: dict[str, dict[int, dict[str, Any]]]) -> list[str]:
    names = [
        METHODS[method].title
        for method, by_seed in found.items()
        if not all(one["top_eigenvalue"]["converged"] for one in by_seed.values())
    ]
    if not names:
        return []
    return [
        f"Power iteration has not converged for {' and '.join(names)}: that eigenvalue may be too low. Raise "
        "landscape.hessian.iterations."
    ]


def setting(results: Results) -> str:
    """Return what was moved, how far, and on which images the loss is."""
    (first, *_) = next(iter(measured(results).values())).values()
    moved = (
        "all convolutions and linear layers of a student; biases and BatchNorm stay, BatchNorm with its stored "
        "statistics"
        if first["weights"] == "all"
        else "the linear layers of a student's head, whose backbone is frozen; biases stay"
    )
    return (
        f"Mean loss of the same {first['images']} test images, labels as published. Two random directions, the same "
        f"draws for all, move {moved}. Each filter of a direction is as long as the student's own filter, so that a "
        f"step of 1 moves it by its own length (Li et al. 2018)."
    )


def clamped(results: Results) -> str:
    """Return how many points of the surfaces are at the clamp."""
    points, found = results.params.landscape.grid**2, measured(results)
    counts = [
        f"{np.mean([one['clamped'] for one in by_seed.values()]):.0f} for {METHODS[method].title}"
        for method, by_seed in found.items()
    ]
    return (
        f"Losses above {results.params.landscape.clamp:g} nats count as that: of {points:,} points {', '.join(counts)}."
    )
