"""The losses of method.md, sections 1 and 4: pure functions of logits."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from models.names import Task
from pipeline.common.labels import indicator


@dataclass(frozen=True)
class Balance:
    """How the supervised loss answers class imbalance; all None = not at all.

    `class_weights` (C,) multiply the cross-entropy of each class; `positive_weights` (C,) multiply the term of present
    findings; `log_prior` (C,) is added to the logits (Menon et al. 2021).
    """

    class_weights: Tensor | None = None
    positive_weights: Tensor | None = None
    log_prior: Tensor | None = None


def balance_for(kind: str, task: Task, targets: np.ndarray, num_classes: int, device: torch.device) -> Balance:
    """Return the balance `training.balance` asks for, from the training labels `targets`, (N,) or (N, C).

    `weighted`: N / (C n_c) for multiclass, (N - n_c) / n_c on present findings for multilabel; `logit_adjusted`:
    log(n_c / N). A class without samples counts as one.
    """
    counts = indicator(targets, num_classes).sum(axis=0).clip(min=1)
    if kind == "none":
        return Balance()
    if kind == "logit_adjusted":
        return Balance(log_prior=_floats(np.log(counts / len(targets)), device))
    if task == "multiclass":
        return Balance(class_weights=_floats(len(targets) / (num_classes * counts), device))
    return Balance(positive_weights=_floats((len(targets) - counts) / counts, device))


def _floats(values: np.ndarray, device: torch.device) -> Tensor:
    return torch.as_tensor(values, dtype=torch.float32, device=device)


def supervised_loss(logits: Tensor, targets: Tensor, task: Task, balance: Balance = Balance()) -> Tensor:
    """Return each sample's supervised loss in nats, (B,).

    Cross-entropy for `multiclass` (`targets` int64 (B,)), binary cross-entropy averaged over C for `multilabel`
    (`targets` (B, C) of 0 and 1). `logits`: (B, C).
    """
    if task == "multilabel":
        losses = F.binary_cross_entropy_with_logits(
            logits, targets, pos_weight=balance.positive_weights, reduction="none"
        )
        return losses.mean(dim=1)
    if balance.log_prior is not None:
        logits = logits + balance.log_prior
    losses = F.cross_entropy(logits, targets, reduction="none")
    return losses if balance.class_weights is None else losses * balance.class_weights[targets]


def teacher_divergences(logits: Tensor, teacher_logits: Tensor, tau: float, task: Task) -> Tensor:
    """Return KL(teacher ‖ student) at temperature tau for each teacher and sample, in nats, (K, B).

    `logits`: (B, C) of the student; `teacher_logits`: (K, B, C). Multilabel: Bernoulli KLs averaged over C. Computed
    from log-softmax and log-sigmoid, so that logits of ±40 stay finite. RoS-KD Eq. 4; Hinton et al. 2015.
    """
    student, teachers = logits / tau, teacher_logits / tau
    if task == "multiclass":
        log_q, log_p = F.log_softmax(teachers, dim=-1), F.log_softmax(student, dim=-1)
        return (log_q.exp() * (log_q - log_p)).sum(dim=-1)
    q = torch.sigmoid(teachers)
    present = q * (F.logsigmoid(teachers) - F.logsigmoid(student))
    absent = (1 - q) * (F.logsigmoid(-teachers) - F.logsigmoid(-student))
    return (present + absent).mean(dim=-1)


def student_loss(
    supervised: Tensor, divergences: Tensor, weights: Tensor, *, tau: float, alpha: float
) -> dict[str, Tensor]:
    """Return the named terms alpha tau² Σ_k w_k KL_k + (1 - alpha) supervised, mean over the batch (section 4).

    `supervised`: (B,); `divergences`: (K, B); `weights`: (K, 1) or (K, B).
    """
    distillation = tau**2 * (weights * divergences).sum(dim=0).mean()
    mean_supervised = supervised.mean()
    total = alpha * distillation + (1 - alpha) * mean_supervised
    return {"total": total, "distillation": distillation, "supervised": mean_supervised}
