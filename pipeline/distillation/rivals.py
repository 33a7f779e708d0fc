"""What the rivals minimise: methods of others against wrong labels, without teachers (method, section 4).

They have no class weights; `training.balance` is the supervised loss's. Teachers may minimise the same losses
(`teachers.loss`).
"""

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from models.names import Task
from pipeline.distillation import robust_losses
from pipeline.distillation.co_teaching import CoTeaching
from pipeline.distillation.losses import supervised_loss
from pipeline.distillation.methods import Rival
from pipeline.distillation.objective import Batch, Memoryless, Objective
from pipeline.params.learning import RivalParams
from pipeline.params.tree import Params

Loss = Callable[[Tensor, Tensor], Tensor]


class Processes(Protocol):
    """What the processes that share each batch exchange: sums of a tensor, and everyone's rows of one."""

    def total(self, values: Tensor) -> Tensor: ...

    def gather(self, values: Tensor) -> Tensor: ...


class Robust(Memoryless):
    """The mean of a loss that tolerates wrong labels."""

    def __init__(self, loss: Loss) -> None:
        self._loss = loss

    def loss(self, batch: Batch, features: Tensor, logits: Tensor) -> dict[str, Tensor]:
        """Mean loss of the batch."""
        return {"total": self._loss(logits, batch.targets).mean()}


class EarlyLearning(Memoryless):
    """ELR: cross-entropy plus a pull towards the running mean of each sample's earlier answers (Liu et al. 2020).

    The memory, float32 (N, 1, C), for multilabel (N, C, 2), starts at 0 and takes in every answer before the loss is
    formed. The processes exchange what they have remembered at the end of an epoch.
    """

    def __init__(
        self, task: Task, shape: tuple[int, int], params: RivalParams, device: torch.device, processes: Processes
    ) -> None:
        self._task: Task = task
        self._beta, self._weight, self._total = params.elr_beta, params.elr_lambda, processes.total
        N, C = shape
        self._memory = torch.zeros((N, 1, C) if task == "multiclass" else (N, C, 2), device=device)
        self._seen = torch.zeros((N, 1, 1), device=device)

    def loss(self, batch: Batch, features: Tensor, logits: Tensor) -> dict[str, Tensor]:
        """Cross-entropy and the pull, whose weight is lambda."""
        probabilities = robust_losses.bounded_probabilities(logits, self._task)
        answers = probabilities.detach()
        answers = answers / answers.sum(dim=2, keepdim=True)
        memory = self._beta * self._memory[batch.index] + (1 - self._beta) * answers
        self._memory[batch.index] = memory
        self._seen.index_fill_(0, batch.index, 1)
        supervised = supervised_loss(logits, batch.targets, self._task).mean()
        pull = robust_losses.early_learning_term(probabilities, memory).mean()
        return {"total": supervised + self._weight * pull, "supervised": supervised, "early_learning": pull}

    def end_epoch(self) -> None:
        """Take in what other processes have seen; each sample of an epoch is seen by one of them."""
        seen = self._total(self._seen)
        self._memory = torch.where(seen > 0, self._total(self._memory * self._seen), self._memory)
        self._seen = torch.zeros_like(self._seen)

    def state_dict(self) -> dict[str, object]:
        """The memory."""
        return {"memory": self._memory}

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Take up a saved memory."""
        assert isinstance(state["memory"], Tensor)
        self._memory = state["memory"].to(self._memory.device, copy=True)


def rival_objective(
    name: Rival, params: Params, shape: tuple[int, int], device: torch.device, processes: Processes
) -> Objective:
    """Return the objective of a rival; `shape`: number of training samples and classes."""
    task, own = params.task, params.rivals
    match name:
        case "label_smoothing":
            return Robust(lambda z, y: robust_losses.label_smoothing(z, y, task, share=own.label_smoothing))
        case "gce":
            return Robust(lambda z, y: robust_losses.generalised_cross_entropy(z, y, task, q=own.gce_q))
        case "sce":
            alpha, beta = own.sce_alpha, own.sce_beta
            return Robust(lambda z, y: robust_losses.symmetric_cross_entropy(z, y, task, alpha=alpha, beta=beta))
        case "elr":
            return EarlyLearning(task, shape, own, device, processes)
        case "co_teaching":
            ramp = max(1, round(own.co_teaching_ramp * params.training.epochs))
            return CoTeaching(task, params.forget_rate(), ramp, processes.gather)


def rival_settings(name: Rival, params: Params) -> dict[str, Any]:
    """Return the name and what the section `rivals` says of it alone: all that decides its objective."""
    own = {field for field in RivalParams.model_fields if field.startswith(name)}
    settings = {"name": name} | params.rivals.model_dump(mode="json", include=own)
    return settings | ({"co_teaching_rate": params.forget_rate()} if name == "co_teaching" else {})
