"""What the training loop minimises: the supervised loss of teachers, the distillation loss of students."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from models.names import Task
from pipeline.distillation.losses import Balance, student_loss, supervised_loss, teacher_divergences
from pipeline.distillation.reinforced import SelectionPolicy, policy_state, selection_weights
from pipeline.distillation.weighting import StochasticWeights, restrict_to_unseen, uniform_weights


@dataclass(frozen=True)
class Batch:
    """One step's data, on the device. `index`: int64 (B,), places in the training set; `inputs`: what the
    network takes, pixels (B, channels, H, W) in [0, 1] or features (B, F)."""

    inputs: Tensor
    targets: Tensor
    index: Tensor
    epoch: int
    step: int
    view: int


class Objective(Protocol):
    """A loss with, for Baseline IV, a memory: hooks after each step and epoch, and a state for resume files."""

    def loss(self, batch: Batch, features: Tensor, logits: Tensor) -> dict[str, Tensor]:
        """Return named scalar terms; `total` is minimised. `features`: (B, F); `logits`: (B, C)."""
        ...

    def after_step(self, batch: Batch, model: nn.Module) -> None:
        """Called when the optimiser has stepped."""
        ...

    def end_epoch(self) -> None:
        """Called after the last step of an epoch."""
        ...

    def state_dict(self) -> dict[str, object]:
        """The memory at the end of an epoch."""
        ...

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Take up a saved memory."""
        ...


class Memoryless:
    """The hooks of an objective that remembers nothing; a base for all of them."""

    def after_step(self, batch: Batch, model: nn.Module) -> None:
        """Nothing to do."""

    def end_epoch(self) -> None:
        """Nothing to do."""

    def state_dict(self) -> dict[str, object]:
        """Nothing to remember."""
        return {}

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Nothing to take up."""


class Supervised(Memoryless):
    """The plain loss of teachers and Baseline I."""

    def __init__(self, task: Task, balance: Balance) -> None:
        self._task: Task = task
        self._balance = balance

    def loss(self, batch: Batch, features: Tensor, logits: Tensor) -> dict[str, Tensor]:
        """Mean supervised loss of the batch."""
        return {"total": supervised_loss(logits, batch.targets, self._task, self._balance).mean()}


class Teachers(Protocol):
    """The K teachers' answers, stored (SoftLabels) or computed at every step (OnlineTeachers)."""

    @property
    def shape(self) -> tuple[int, int]:
        """Number of teachers K and of classes C."""
        ...

    def logits(self, view: int, index: Tensor, inputs: Tensor) -> Tensor:
        """Return float32 (K, B, C): the answers to view `view` of the training samples `index`, shown in `inputs`."""
        ...


@dataclass(frozen=True)
class DistillationTerms:
    """What all distilling students share: where the teachers' answers come from and how the terms are mixed."""

    task: Task
    balance: Balance
    teachers: Teachers
    tau: float
    alpha: float

    def mix(self, batch: Batch, logits: Tensor, teacher_logits: Tensor, weights: Tensor) -> dict[str, Tensor]:
        """The student's loss for given teacher weights, (K, 1) or (K, B)."""
        return student_loss(
            supervised_loss(logits, batch.targets, self.task, self.balance),
            teacher_divergences(logits, teacher_logits, self.tau, self.task),
            weights,
            tau=self.tau,
            alpha=self.alpha,
        )


class Distillation(Memoryless):
    """Distillation with equal weights (`stochastic` None) or stochastic ones, optionally from unseen teachers only.

    `unseen`: bool (K, N), True where teacher k did not train on sample n.
    """

    def __init__(
        self, terms: DistillationTerms, stochastic: StochasticWeights | None = None, unseen: Tensor | None = None
    ) -> None:
        self._terms, self._stochastic, self._unseen = terms, stochastic, unseen

    def loss(self, batch: Batch, features: Tensor, logits: Tensor) -> dict[str, Tensor]:
        """alpha tau² Σ_k w_k KL_k + (1 - alpha) supervised."""
        teacher_logits = self._terms.teachers.logits(batch.view, batch.index, batch.inputs)
        weights = self._weights(batch)
        if self._unseen is not None:
            weights = restrict_to_unseen(weights, self._unseen[:, batch.index])
        return self._terms.mix(batch, logits, teacher_logits, weights)

    def _weights(self, batch: Batch) -> Tensor:
        if self._stochastic is None:
            return uniform_weights(self._terms.teachers.shape[0], batch.index.device)
        return self._stochastic.of(batch.epoch, batch.step, batch.index)


@contextmanager
def untracked_statistics(model: nn.Module) -> Iterator[None]:
    """Let BatchNorm layers normalise by the batch, as in training, without keeping its mean and variance."""
    norms = [part for part in model.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    tracking = [part for part in norms if part.track_running_stats]
    for part in tracking:
        part.track_running_stats = False
    try:
        yield
    finally:
        for part in tracking:
            part.track_running_stats = True


class ReinforcedDistillation:
    """Baseline IV: the policy picks the teachers of each sample and learns from the student's loss after its step."""

    def __init__(self, terms: DistillationTerms, policy: SelectionPolicy) -> None:
        self._terms, self._policy = terms, policy

    def loss(self, batch: Batch, features: Tensor, logits: Tensor) -> dict[str, Tensor]:
        """The distillation loss with the selected teachers' weights."""
        teacher_logits = self._terms.teachers.logits(batch.view, batch.index, batch.inputs)
        state = policy_state(features.detach().float(), teacher_logits, batch.targets, self._terms.task)
        weights = selection_weights(self._policy.select(state, batch.epoch, batch.index))
        return self._terms.mix(batch, logits, teacher_logits, weights)

    @torch.no_grad()
    def after_step(self, batch: Batch, model: nn.Module) -> None:
        """Reward the selection: R = -(mean supervised loss of the batch, recomputed after the step).

        BatchNorm's running statistics do not see the batch a second time.
        """
        with untracked_statistics(model):
            logits = model(batch.inputs)
        self._policy.reward(supervised_loss(logits.float(), batch.targets, self._terms.task, self._terms.balance))

    def end_epoch(self) -> None:
        """Let the policy learn."""
        self._policy.end_epoch()

    def state_dict(self) -> dict[str, object]:
        """The policy's memory."""
        return self._policy.state_dict()

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Take up a saved policy."""
        self._policy.load_state_dict(state)
