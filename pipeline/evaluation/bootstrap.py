"""Resamples of the test split, and every figure of a method on each of them (method, section 9).

Groups (patients, lesions) are drawn with replacement, each as a whole. A resample is a weight for each group, so no
sample is ever copied: confusion counts are matrix products of weights and per-group counts, AUROCs are cumulative sums
of weights along the sorted scores. Draw once and resample every method with the same draws, so that each pair is
compared on the same resamples; seeds are weighted last, so that the same figures serve with and without new seeds:

    kinds = draw_kinds(groups, n_seeds=5, rng=np.random.default_rng(0))
    figures = {method: resample("multiclass", logits, targets, kinds[0]) for method, logits in ...}
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from models.names import Task
from pipeline.common.labels import indicator
from pipeline.evaluation.metrics import decide, mean_defined, probabilities, ratios

METRICS = ("precision_macro", "recall_macro", "f1_macro", "auroc_macro")
"""What `resample` computes; specificity_macro is available besides, and for multiclass accuracy. ECE is not: its
bootstrap is biased."""

MIN_SEEDS = 5
CELLS = 8_000_000  # numbers held at once while resampling an AUROC

Resampled = Literal["groups", "groups+seeds"]

Figures = dict[str, np.ndarray]
"""{metric: (R + 1, S)} of one method, from `resample`."""


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

    def over_seeds(self, values: np.ndarray) -> np.ndarray:
        """Return the means (R + 1,) over seeds of a metric's figures (R + 1, S)."""
        return (values * self.seed_shares).sum(axis=1)


def draw(groups: np.ndarray, n_seeds: int, rng: np.random.Generator, *, resamples: int = 1000) -> Draws:
    """Draw whole groups with replacement, as many as there are, `resamples` times; the seeds stay fixed.

    `groups`: (N,) any labels, one for each test sample.
    """
    names, group_of = np.unique(groups, return_inverse=True)
    G = len(names)
    counts = np.ones((G, resamples + 1), dtype=np.uint16)
    for r in range(1, resamples + 1):
        counts[:, r] = np.bincount(rng.integers(G, size=G), minlength=G)
    return Draws(counts, group_of, np.full((resamples + 1, n_seeds), 1 / n_seeds), "groups")


def draw_seeds(draws: Draws, rng: np.random.Generator) -> Draws:
    """Return the same draws of groups, each with as many seeds as there are, drawn with replacement.

    Raises ValueError below five seeds.
    """
    shares = draws.seed_shares.copy()
    S = shares.shape[1]
    if S < MIN_SEEDS:
        raise ValueError(f"to resample seeds, at least {MIN_SEEDS} are needed, there are {S}; keep them fixed")
    for r in range(1, len(shares)):
        shares[r] = np.bincount(rng.integers(S, size=S), minlength=S) / S
    return replace(draws, seed_shares=shares, resampled="groups+seeds")


def draw_kinds(groups: np.ndarray, n_seeds: int, rng: np.random.Generator, *, resamples: int = 1000) -> list[Draws]:
    """Return what the seeds allow: draws with the seeds fixed, and from five seeds on also draws of both."""
    fixed = draw(groups, n_seeds, rng, resamples=resamples)
    return [fixed, draw_seeds(fixed, rng)] if n_seeds >= MIN_SEEDS else [fixed]


def resample(
    task: Task,
    logits: Sequence[np.ndarray],
    targets: np.ndarray,
    draws: Draws,
    *,
    metrics: Sequence[str] = METRICS,
    thresholds: Sequence[np.ndarray] | None = None,
) -> Figures:
    """Return one method's figures on every resample, (R + 1, S) for each metric; row 0 holds the figures themselves.

    `logits`: for each seed (N, C) on the same test samples; `thresholds`: for each seed (C,), multilabel only, as
    tuned on validation (0.5 if None). A class without positives in a resample is left out of that resample's mean.
    """
    values = {metric: np.empty_like(draws.seed_shares) for metric in metrics}
    for s, seed_logits in enumerate(logits):
        scores = probabilities(task, seed_logits)
        positives = indicator(targets, scores.shape[1])
        predicted = decide(task, scores, thresholds[s] if thresholds is not None else None)
        figures = _count_figures(predicted, positives, draws)
        if "auroc_macro" in metrics:
            figures["auroc_macro"] = mean_defined(_auroc(scores, positives, draws))
        for metric in metrics:
            values[metric][:, s] = figures[metric]
    return values


def _count_figures(predicted: np.ndarray, positives: np.ndarray, draws: Draws) -> dict[str, np.ndarray]:
    """Return the figures that rest on confusion counts, (R + 1,) each; `predicted`, `positives`: bool (N, C)."""
    everyone = np.ones((len(predicted), 1), dtype=bool)
    C = predicted.shape[1]
    counts = _weighted(np.hstack([predicted & positives, predicted, positives, everyone]), draws)
    hits, called, actual, sizes = np.split(counts, [C, 2 * C, 3 * C], axis=1)
    names = ("precision_macro", "recall_macro", "f1_macro")
    figures = {name: mean_defined(value) for name, value in zip(names, ratios(hits, called, actual), strict=True)}
    negatives = sizes - actual
    known = (actual > 0) & (negatives > 0)
    specificity = np.where(known, (negatives - called + hits) / np.maximum(negatives, 1), np.nan)
    return figures | {"specificity_macro": mean_defined(specificity), "accuracy": hits.sum(axis=1) / sizes[:, 0]}


def _weighted(flags: np.ndarray, draws: Draws) -> np.ndarray:
    """Return the counts (R + 1, F) of bool `flags` (N, F) in every resample: per group first, then by weight."""
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
            negatives = _running(counts[rows[~is_positive]])
            weights = counts[rows[is_positive]].astype(np.float64)
            wins = np.einsum("nr,nr->r", weights, negatives[below] + negatives[not_above]) / 2
            pairs = weights.sum(axis=0) * negatives[-1]
            values[r : r + step, c] = np.where(pairs > 0, wins / np.maximum(pairs, 1), np.nan)
    return values


def _running(counts: np.ndarray) -> np.ndarray:
    """Return running sums (n + 1, R) down the rows of `counts` (n, R), from 0; np.cumsum takes twice as long."""
    sums = np.zeros((len(counts) + 1, counts.shape[1]))
    sums[1:] = counts
    for i in range(len(counts)):
        sums[i + 1] += sums[i]
    return sums
