"""Which labels are likely to be wrong: the vote of teachers that never saw the sample. Pure functions on probabilities.

Confident learning (Northcutt, Jiang & Chuang 2021) asks for predictions of models that were not trained on the sample,
which otherwise cost a cross-validation. With cyclic subsets every sample has such teachers, as long as p is at most
(K - 2) / (K - 1).
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from models.names import Task
from pipeline.common.labels import indicator


@dataclass(frozen=True)
class Votes:
    """`mean`: float (N, C), mean probability over the votes, NaN without any; `count`: int (N,), votes of a sample."""

    mean: np.ndarray
    count: np.ndarray


@dataclass(frozen=True)
class Quality:
    """How much the votes speak for each given label. Rows are samples; multilabel: (N, C), a value for each finding.

    `confidence`: probability of the given label, in [0, 1]; `margin`: that minus the largest of another label, in
    [-1, 1]; `suggested`: int64 (N,) class, or bool (N, C) findings, that the votes favour. NaN where nobody voted.
    """

    confidence: np.ndarray
    margin: np.ndarray
    suggested: np.ndarray


def unseen_votes(answers: Iterable[tuple[np.ndarray, np.ndarray]], shape: tuple[int, int]) -> Votes:
    """Return the mean of what teachers say of samples that they did not train on.

    `answers`: for each teacher its probabilities (N, C), already the mean over views, and bool (N,), True where it did
    not train on the sample. `shape`: (N, C).
    """
    total, count = np.zeros(shape), np.zeros(shape[0], dtype=np.int64)
    for probabilities, unseen in answers:
        total[unseen] += probabilities[unseen]
        count += unseen
    with np.errstate(invalid="ignore"):
        return Votes(np.where(count[:, None] > 0, total / np.maximum(count, 1)[:, None], np.nan), count)


def label_quality(task: Task, votes: Votes, given: np.ndarray) -> Quality:
    """Return how doubtful each given label is; `given`: int64 (N,) or 0/1 (N, C)."""
    mean = votes.mean
    if task == "multilabel":
        confidence = np.where(given > 0, mean, 1 - mean)
        return Quality(confidence, 2 * confidence - 1, np.where(np.isnan(mean), given > 0, mean > 0.5))
    own = np.arange(len(given))
    confidence = mean[own, given]
    others = np.where(indicator(given, mean.shape[1]), -np.inf, mean)
    filled = np.where(np.isnan(mean), -1.0, mean)
    suggested = np.where(votes.count > 0, filled.argmax(axis=1), given)
    return Quality(confidence, confidence - np.where(votes.count > 0, others.max(axis=1), np.nan), suggested)


def combined_score(*signals: np.ndarray) -> np.ndarray:
    """Return the mean rank of each label among those that a signal speaks of, in (0, 1]: low is doubtful.

    `signals`: (N,) each, larger where the label is more likely right, NaN where one says nothing. Votes of teachers
    that never saw a sample err in other places than the margins of a student that did: together they order better.
    """
    ranks = [_shares(signal) for signal in signals]
    return np.nanmean(np.stack(ranks), axis=0) if len(signals[0]) else np.array([])


def _shares(signal: np.ndarray) -> np.ndarray:
    """Ranks over their number, equal values sharing the mean of theirs; NaN stays."""
    known = np.isfinite(signal)
    shares = np.full(len(signal), np.nan)
    shares[known] = rankdata(signal[known]) / max(known.sum(), 1)
    return shares


def doubt_order(confidence: np.ndarray) -> np.ndarray:
    """Return places in the order of doubt, the most doubtful first; those without a vote are left out."""
    known = np.flatnonzero(np.isfinite(confidence))
    return known[np.argsort(confidence[known], kind="stable")]


def confident_joint(mean: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Return the estimated joint distribution (C, C) of given labels (rows) and true ones (columns); it sums to 1.

    A sample counts to the true class j whose mean probability reaches t_j, the mean of that class's probability over
    the samples given as j, and of several to the most probable. Rows are then scaled to how often each label was given
    (Northcutt et al. 2021, Eq. 1 to 3). Samples without a vote, and classes that nobody was given, are left out.
    """
    C = mean.shape[1]
    voted = np.isfinite(mean).all(axis=1)
    mean, given = mean[voted], given[voted]
    counts = np.bincount(given, minlength=C).astype(float)
    thresholds = np.array([mean[given == j, j].mean() if counts[j] else np.inf for j in range(C)])
    reached = np.where(mean >= thresholds - 1e-6, mean, -np.inf)
    confident = np.isfinite(reached).any(axis=1)
    joint = np.zeros((C, C))
    np.add.at(joint, (given[confident], reached[confident].argmax(axis=1)), 1)
    rows = joint.sum(axis=1, keepdims=True)
    # a label whose samples reach no threshold is taken to be right
    joint = np.where(rows > 0, joint / np.maximum(rows, 1), np.eye(C)) * counts[:, None]
    return joint / joint.sum()


def noise_rate(joint: np.ndarray) -> float:
    """Return the estimated share of wrong labels."""
    return float(1 - np.trace(joint))
