"""Whether a challenger becomes champion: both on one validation set, by the paired bootstrap over its groups."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from models.names import Task
from pipeline.common.seeds import stream
from pipeline.evaluation.bootstrap import Draws, draw, resample
from pipeline.evaluation.comparisons import Interval, bootstrap_interval, paired_bootstrap
from pipeline.evaluation.tuning import tune_thresholds

Outcome = Literal["first", "better", "forced", "kept", "not compared"]
"""Why a version was promoted (the first three) or not."""
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
PROMOTED: tuple[Outcome, ...] = ("first", "better", "forced")


@dataclass(frozen=True)
class Answered:
    """One split with what the challenger answers on it.

    `logits`: (N, C); `targets`: int (N,) or 0/1 (N, C), the labels the split is judged by; `groups`: (N,) patients or
    lesions; `tuned_on`: logits and targets by which thresholds are tuned, those of validation (multilabel only).
    """

    task: Task
    logits: np.ndarray
    targets: np.ndarray
    groups: np.ndarray
    tuned_on: tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Verdict:
    """The decision, and the reason as a person reads it."""

    outcome: Outcome
    reason: str

    @property
    def promoted(self) -> bool:
        """Whether the challenger becomes champion."""
        return self.outcome in PROMOTED


def intervals(answered: Answered, metrics: Sequence[str], seed: int) -> dict[str, Interval]:
    """Return each metric's figure with its 95 % interval over the groups; `seed` is that of the resamples."""
    draws = _draws(answered, seed)
    figures = _resampled(answered, answered.logits, metrics, draws, answered.tuned_on)
    return {metric: bootstrap_interval(figures[metric], draws) for metric in metrics}


def compare(answered: Answered, champion: np.ndarray, version: str, metric: str, seed: int) -> Verdict:
    """Promote the challenger if its figure is higher than the champion's beyond the 95 % interval of the difference.

    `answered`: the validation set; `champion`: the champion's logits (N, C) on it, of version `version`. Thresholds of
    both (multilabel F1) are tuned on it.
    """
    draws = _draws(answered, seed)
    ours, theirs = (
        _resampled(answered, logits, [metric], draws, (logits, answered.targets))[metric]
        for logits in (answered.logits, champion)
    )
    found = paired_bootstrap(ours, theirs, draws)
    if not np.isfinite([found.difference, found.low, found.high]).all():
        return Verdict("not compared", f"not compared with version {version}: val/{metric} is undefined here")
    figures = (
        f"val/{metric} {ours[0, 0]:.4f} against {theirs[0, 0]:.4f} of version {version}: {found.difference:+.4f}, 95 % "
        f"interval {found.low:+.4f} to {found.high:+.4f} over {found.n_groups:,} groups"
    )
    return Verdict("better", figures) if found.low > 0 else Verdict("kept", f"{figures}, which is not above 0")


def forced(verdict: Verdict) -> Verdict:
    """Return a promotion by the parameter, with what the comparison would have said; others are kept."""
    return verdict if verdict.promoted else Verdict("forced", f"registry.force is true; {verdict.reason}")


def _draws(answered: Answered, seed: int) -> Draws:
    return draw(answered.groups, 1, stream(seed, "promotion", 0))


def _resampled(
    answered: Answered, logits: np.ndarray, metrics: Sequence[str], draws: Draws, tuned_on: tuple[np.ndarray, ...]
) -> dict[str, np.ndarray]:
    thresholds = [tune_thresholds(*tuned_on)] if answered.task == "multilabel" else None
    return resample(answered.task, [logits], answered.targets, draws, metrics=metrics, thresholds=thresholds)
