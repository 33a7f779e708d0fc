"""How sure a figure or a difference is: a paired bootstrap over the groups of the test split (method, section 9).

Groups (patients, lesions) are drawn with replacement and never parted. With the seeds fixed, which is the default,
an interval speaks about other test patients and these very training runs; from five seeds on, seeds may be resampled
as well, and it then speaks about new runs too (three seeds are too few: a simulation covered 77 to 90 %).

A resample is a weight for each group, so no sample is ever copied: confusion counts are matrix products of weights
and per-group counts, AUROCs are cumulative sums of weights along the sorted scores. Draw once, resample every method
with the same draws, and each pair is compared on the same resamples:

    draws = draw(groups, n_seeds=3, rng=np.random.default_rng(0))
    a = resample("multiclass", logits_a, targets, draws)
    b = resample("multiclass", logits_b, targets, draws)
    paired_bootstrap(a["f1_macro"], b["f1_macro"], draws)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline.evaluation.metrics import mean_defined, predict, probabilities, ratios
from pipeline.labels import indicator
from pipeline.params import Task

METRICS = ("precision_macro", "recall_macro", "f1_macro", "auroc_macro")
"""What `resample` computes; accuracy is available for multiclass besides. ECE is not: its bootstrap is biased."""

LEVEL = 0.95
MIN_SEEDS = 5
CELLS = 8_000_000  # numbers held at once while resampling an AUROC

Resampled = Literal["groups", "groups+seeds"]


@dataclass(frozen=True)
class Draws:
    """R resamples of the test groups, shared by all methods; index 0 is the test split itself.

    `counts`: uint16 (G, R + 1), how often each group was drawn; `group_of`: int (N,), each sample's row in `counts`;
    `seed_shares`: (R + 1, S), the weight of each seed, rows sum to 1.
    """

    counts: np.ndarray
    group_of: np.ndarray
    seed_shares: np.ndarray
    resampled: Resampled


@dataclass(frozen=True)
class Comparison:
    """Difference a - b of two methods with its 95 % interval; the fields are columns of metrics/comparisons.csv."""

    difference: float
    low: float
    high: float
    p_value: float
    n_groups: int
    n_seeds: int
    resampled: Resampled


@dataclass(frozen=True)
class Interval:
    """One method's figure with its 95 % interval; the fields are columns of metrics/intervals.csv."""

    value: float
    low: float
    high: float
    n_groups: int
    n_seeds: int


def draw(
    groups: np.ndarray, n_seeds: int, rng: np.random.Generator, *, resamples: int = 1000, resample_seeds: bool = False
) -> Draws:
    """Draw whole groups with replacement, as many as there are, `resamples` times.

    `groups`: (N,) any labels, one for each test sample. Raises ValueError for `resample_seeds` below five seeds.
    """
    if resample_seeds and n_seeds < MIN_SEEDS:
        raise ValueError(f"resample_seeds needs at least {MIN_SEEDS} seeds, there are {n_seeds}; keep the seeds fixed")
    names, group_of = np.unique(groups, return_inverse=True)
    G = len(names)
    counts = np.ones((G, resamples + 1), dtype=np.uint16)
    seed_shares = np.full((resamples + 1, n_seeds), 1 / n_seeds)
    for r in range(1, resamples + 1):
        counts[:, r] = np.bincount(rng.integers(G, size=G), minlength=G)
        if resample_seeds:
            seed_shares[r] = np.bincount(rng.integers(n_seeds, size=n_seeds), minlength=n_seeds) / n_seeds
    return Draws(counts, group_of, seed_shares, "groups+seeds" if resample_seeds else "groups")


def resample(
    task: Task,
    logits: Sequence[np.ndarray],
    targets: np.ndarray,
    draws: Draws,
    *,
    metrics: Sequence[str] = METRICS,
    thresholds: Sequence[np.ndarray] | None = None,
) -> dict[str, np.ndarray]:
    """Return one method's figures on every resample, (R + 1,) for each metric, mean over seeds; index 0 is the figure.

    `logits`: for each seed (N, C) on the same test samples; `thresholds`: for each seed (C,), multilabel only, as
    tuned on validation (0.5 if None). A class without positives in a resample is left out of that resample's mean.
    """
    values = {metric: np.empty_like(draws.seed_shares) for metric in metrics}
    for s, seed_logits in enumerate(logits):
        scores = probabilities(task, seed_logits)
        positives = indicator(targets, scores.shape[1])
        predicted = predict(task, scores, thresholds[s] if thresholds is not None else None)
        figures = _count_figures(predicted, positives, draws)
        if "auroc_macro" in metrics:
            figures["auroc_macro"] = mean_defined(_auroc(scores, positives, draws))
        for metric in metrics:
            values[metric][:, s] = figures[metric]
    return {metric: (figures * draws.seed_shares).sum(axis=1) for metric, figures in values.items()}


def paired_bootstrap(a: np.ndarray, b: np.ndarray, draws: Draws) -> Comparison:
    """Compare two methods by their figures (R + 1,) from `resample` on the same draws: difference a - b.

    95 % percentile interval; the p-value is twice the smaller share of resamples on either side of 0, at least
    2 / (R + 1), and 1 if the methods never differ. All NaN if the metric is undefined on the test split.
    """
    difference = a - b
    low, high = _percentiles(difference)
    n_groups, n_seeds = len(draws.counts), draws.seed_shares.shape[1]
    return Comparison(float(difference[0]), low, high, _p_value(difference), n_groups, n_seeds, draws.resampled)


def bootstrap_interval(values: np.ndarray, draws: Draws) -> Interval:
    """Return one method's figure and its 95 % percentile interval, from the (R + 1,) figures of `resample`."""
    low, high = _percentiles(values)
    return Interval(float(values[0]), low, high, len(draws.counts), draws.seed_shares.shape[1])


def _percentiles(values: np.ndarray) -> tuple[float, float]:
    known = values[1:][np.isfinite(values[1:])]
    if not known.size or not np.isfinite(values[0]):
        return np.nan, np.nan
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _p_value(difference: np.ndarray) -> float:
    known = difference[1:][np.isfinite(difference[1:])]
    if not known.size or not np.isfinite(difference[0]):
        return np.nan
    smaller = min((known <= 0).sum(), (known >= 0).sum())
    return float(min(1.0, 2 * (smaller + 1) / (known.size + 1)))


def _count_figures(predicted: np.ndarray, positives: np.ndarray, draws: Draws) -> dict[str, np.ndarray]:
    """Return the figures that rest on confusion counts, (R + 1,) each; `predicted`, `positives`: bool (N, C)."""
    hits, called, actual = (_weighted(flags, draws) for flags in (predicted & positives, predicted, positives))
    names = ("precision_macro", "recall_macro", "f1_macro")
    figures = {name: mean_defined(value) for name, value in zip(names, ratios(hits, called, actual), strict=True)}
    sizes = _weighted(np.ones((len(predicted), 1), dtype=bool), draws)[:, 0]
    return figures | {"accuracy": hits.sum(axis=1) / sizes}


def _weighted(flags: np.ndarray, draws: Draws) -> np.ndarray:
    """Return the counts (R + 1, C) of bool `flags` (N, C) in every resample: per group first, then by weight."""
    G, R = draws.counts.shape
    per_group = np.stack([np.bincount(draws.group_of, weights=column, minlength=G) for column in flags.T], axis=1)
    step = max(1, CELLS // G)
    chunks = [draws.counts[:, r : r + step].T.astype(np.float64) @ per_group for r in range(0, R, step)]
    return np.concatenate(chunks)


def _auroc(scores: np.ndarray, positives: np.ndarray, draws: Draws) -> np.ndarray:
    """Return each class's weighted AUROC (R + 1, C), ties counted half; NaN without positives or negatives."""
    values = np.empty((draws.counts.shape[1], scores.shape[1]))
    step = max(1, CELLS // len(scores))
    for c in range(scores.shape[1]):
        order = np.argsort(scores[:, c], kind="stable")
        ordered, is_positive = scores[order, c], positives[order, c]
        below = np.searchsorted(ordered[~is_positive], ordered[is_positive], side="left")
        not_above = np.searchsorted(ordered[~is_positive], ordered[is_positive], side="right")
        rows = draws.group_of[order]
        for r in range(0, len(values), step):
            counts = draws.counts[:, r : r + step]
            negatives = np.cumsum(counts[rows[~is_positive]], axis=0, dtype=np.float64)
            negatives = np.concatenate([np.zeros((1, counts.shape[1])), negatives])
            weights = counts[rows[is_positive]].astype(np.float64)
            wins = (weights * (negatives[below] + negatives[not_above])).sum(axis=0) / 2
            pairs = weights.sum(axis=0) * negatives[-1]
            values[r : r + step, c] = np.where(pairs > 0, wins / np.maximum(pairs, 1), np.nan)
    return values
