"""Decisions tuned on validation after training: a threshold for each finding, or a bias for each class.

Both are found by macro F1, which a large class rules where the highest probability decides: with 72 % of the images in
one class, a network that ranks the others well may still never name them.
"""

import numpy as np
from scipy.special import log_softmax

from pipeline.common.labels import indicator
from pipeline.evaluation.metrics import mean_defined, probabilities, ratios, require_finite

MARGIN = 1.0  # nats beyond the first or last image at which a decision changes
SWEEPS = 20
GAIN = 1e-12


def tune_thresholds(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return the probabilities (C,) at and above which a finding is called, so that each class's F1 is the highest.

    To be tuned on validation. Candidates are the probabilities that occur; of equally good ones the highest, which
    calls the fewest findings. 0.5 for a class without positives. `logits`, `targets`: (N, C).
    """
    scores = probabilities("multilabel", logits)
    return np.array([_best_threshold(scores[:, c], targets[:, c] > 0) for c in range(scores.shape[1])])


def _best_threshold(scores: np.ndarray, positives: np.ndarray) -> float:
    if not positives.any():
        return 0.5
    order = np.argsort(-scores, kind="stable")
    called = np.arange(1, len(scores) + 1)
    f1 = 2 * np.cumsum(positives[order]) / (called + positives.sum())
    last_of_ties = np.append(scores[order][1:] < scores[order][:-1], True)
    return float(scores[order][np.argmax(np.where(last_of_ties, f1, -1))])


def tune_biases(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return what is added to the logits (C,), in nats with mean 0, so that the most probable class has the highest F1.

    To be tuned on validation, for `multiclass`. From no biases on, one class after another takes the bias at which the
    macro F1 is the highest, of equally good ones the nearest to its own, until none gains: a local maximum, never below
    the F1 without biases. Where nothing gains, all are 0. `logits`: (N, C); `targets`: int (N,). Raises ValueError if
    there is no row or a logit is not finite.
    """
    require_finite(logits)
    scores = log_softmax(np.asarray(logits, dtype=np.float64), axis=1)
    C = scores.shape[1]
    positives = indicator(targets, C)
    biases = np.zeros(C)
    reached = _macro_f1(scores.argmax(axis=1), positives)
    for _ in range(SWEEPS):
        before = reached
        for c in range(C):
            bias, f1 = _best_bias(scores + biases, positives, c)
            if f1 > reached + GAIN:
                biases[c] += bias
                reached = f1
        if reached == before:
            break
    return biases - biases.mean()


def _macro_f1(called: np.ndarray, positives: np.ndarray) -> float:
    predicted = indicator(called, positives.shape[1])
    f1 = ratios((predicted & positives).sum(axis=0), predicted.sum(axis=0), positives.sum(axis=0))[2]
    return float(mean_defined(f1))


def _best_bias(scores: np.ndarray, positives: np.ndarray, c: int) -> tuple[float, float]:
    """Return the bias of class c alone that gives the highest macro F1, the smallest of those, and that F1.

    An image is called c once the bias passes its gap to the best other class, so sorted gaps give every decision there
    is: in row k of the counts the k images of the smallest gaps are called c, the others their best other class.
    """
    others = scores.copy()
    others[:, c] = -np.inf
    gaps = others.max(axis=1) - scores[:, c]
    order = np.argsort(gaps, kind="stable")
    second, true = indicator(others.argmax(axis=1), scores.shape[1])[order], positives[order]
    called, hits = _left(second), _left(second & true)
    called[:, c] = np.arange(len(scores) + 1)
    hits[1:, c] = np.cumsum(true[:, c])
    f1 = mean_defined(ratios(hits, called, positives.sum(axis=0))[2])
    edges = np.concatenate([[gaps[order[0]] - 2 * MARGIN], gaps[order], [gaps[order[-1]] + 2 * MARGIN]])
    biases = (edges[:-1] + edges[1:]) / 2
    possible = edges[:-1] < edges[1:]
    best = np.flatnonzero(possible & (f1 >= f1[possible].max() - GAIN))
    k = best[np.argmin(np.abs(biases[best]))]
    return float(biases[k]), float(f1[k])


def _left(flags: np.ndarray) -> np.ndarray:
    """Return how many of `flags` (N, C) are left after the first k rows, (N + 1, C)."""
    gone = np.zeros((len(flags) + 1, flags.shape[1]), dtype=np.int64)
    np.cumsum(flags, axis=0, out=gone[1:])
    return gone[-1] - gone
