"""Losses that tolerate wrong labels, of rivals that the paper does not compare with: pure functions of logits.

`logits`: (B, C). `targets`: int64 (B,) for multiclass, (B, C) of 0 and 1 for multilabel, where each finding is a
Bernoulli variable and a sample's loss is the mean over its findings. All return each sample's loss, (B,).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from models.names import Task

LOG_OF_ZERO = -4.0
"""What log 0 counts in the reverse cross-entropy (A in Wang et al. 2019)."""
LEAST = 1e-4
"""ELR keeps probabilities this far from 0 and 1, as its authors' code does."""


def label_smoothing(logits: Tensor, targets: Tensor, task: Task, *, share: float) -> Tensor:
    """Cross-entropy to targets of which `share` is spread evenly over all classes (Szegedy et al. 2016)."""
    if task == "multilabel":
        soft = targets * (1 - share) + share / 2
        return F.binary_cross_entropy_with_logits(logits, soft, reduction="none").mean(dim=1)
    return F.cross_entropy(logits, targets, label_smoothing=share, reduction="none")


def generalised_cross_entropy(logits: Tensor, targets: Tensor, task: Task, *, q: float) -> Tensor:
    """(1 - p^q) / q with p the probability of the given label (Zhang & Sabuncu 2018, Eq. 6).

    q towards 0 is cross-entropy, q = 1 the mean absolute error.
    """
    log_p = _log_given(logits, targets, task)
    losses = (1 - torch.exp(q * log_p)) / q
    return losses.mean(dim=1) if task == "multilabel" else losses


def symmetric_cross_entropy(logits: Tensor, targets: Tensor, task: Task, *, alpha: float, beta: float) -> Tensor:
    """alpha times cross-entropy plus beta times its reverse, -Σ p log y with log 0 = -4 (Wang et al. 2019, Eq. 7)."""
    log_p = _log_given(logits, targets, task)
    losses = -alpha * log_p - beta * LOG_OF_ZERO * (1 - log_p.exp())
    return losses.mean(dim=1) if task == "multilabel" else losses


def bounded_probabilities(logits: Tensor, task: Task) -> Tensor:
    """Return the probabilities that ELR works with, in [LEAST, 1 - LEAST].

    (B, 1, C) for multiclass; (B, C, 2) for multilabel, of the presence and the absence of each finding.
    """
    if task == "multilabel":
        return torch.stack([logits.sigmoid(), (-logits).sigmoid()], dim=2).clamp(LEAST, 1 - LEAST)
    return logits.softmax(dim=1).clamp(LEAST, 1 - LEAST)[:, None]


def early_learning_term(probabilities: Tensor, memory: Tensor) -> Tensor:
    """log(1 - <p, t>), which pulls the answer p towards the memory t of earlier ones (Liu et al. 2020, Eq. 6).

    Both are as `bounded_probabilities` has them; a memory of 0 pulls nowhere. Mean over findings, (B,).
    """
    return torch.log1p(-(memory * probabilities).sum(dim=2)).mean(dim=1)


def _log_given(logits: Tensor, targets: Tensor, task: Task) -> Tensor:
    """The log-probability of what is given: (B,), or (B, C) for the presence or absence of each finding."""
    if task == "multilabel":
        return F.logsigmoid(torch.where(targets > 0, logits, -logits))
    return F.log_softmax(logits, dim=1).gather(1, targets[:, None])[:, 0]
