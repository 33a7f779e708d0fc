"""What an attack is after: the loss that it raises, and how many of a sample's decisions it has turned wrong."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from models.names import Task

NEVER = 1e-12
"""Thresholds are kept so far away from 0 and 1, whose logits are infinite."""


@dataclass(frozen=True)
class Goal:
    """Wrong decisions about B samples.

    multiclass: one decision per sample, wrong where another class has the highest logit. multilabel: one decision per
    finding, wrong where a present finding is not called or an absent one is; `cuts`: (C,) logits at and above which a
    finding is called. `finding` narrows it to one finding that is to be switched on, or off: then the one decision of a
    sample is turned where that finding is called (`on`) or is not.

    `targets`: int64 (B,), or float32 (B, C) of 0 and 1, on the logits' device.
    """

    task: Task
    targets: Tensor
    cuts: Tensor | None = None
    finding: int | None = None
    on: bool = True

    @property
    def decisions(self) -> int:
        """How many decisions about a sample can be turned."""
        return self.targets.shape[1] if self.task == "multilabel" and self.finding is None else 1

    def of(self, rows: Tensor) -> "Goal":
        """Return the same goal for some of the samples."""
        return replace(self, targets=self.targets[rows])

    def loss(self, logits: Tensor) -> Tensor:
        """Return what attacks ascend, (B,) in nats: cross-entropy, or binary cross-entropy as a mean over findings.

        For a switch it is minus the binary cross-entropy with the wanted state of the finding.
        """
        if self.task == "multiclass":
            return F.cross_entropy(logits, self.targets, reduction="none")
        if self.finding is not None:
            own = logits[:, self.finding]
            return -F.binary_cross_entropy_with_logits(own, torch.full_like(own, self.on), reduction="none")
        return F.binary_cross_entropy_with_logits(logits, self.targets, reduction="none").mean(dim=1)

    def turned(self, logits: Tensor) -> Tensor:
        """Return how many decisions of each sample are as the attack wants them, int64 (B,)."""
        if self.task == "multiclass":
            return (logits.argmax(dim=1) != self.targets).long()
        called = logits >= self._cuts
        if self.finding is not None:
            return (called[:, self.finding] == self.on).long()
        return (called != (self.targets > 0)).sum(dim=1)

    def closeness(self, logits: Tensor) -> Tensor:
        """Return minus the mean logit by which the decisions fall short of being turned, (B,), at most 0.

        Unlike the loss it does not saturate where a network is very sure: what a search without gradients raises.
        """
        if self.task == "multiclass":
            own = logits.gather(1, self.targets[:, None])
            short = own - logits.scatter(1, self.targets[:, None], -torch.inf).amax(dim=1, keepdim=True)
        else:
            above = logits - self._cuts
            short = torch.where(self.targets > 0, above, -above)
            if self.finding is not None:
                short = (-above if self.on else above)[:, self.finding, None]
        return -short.clamp(min=0).mean(dim=1)

    @property
    def _cuts(self) -> Tensor:
        assert self.cuts is not None, "a goal for several findings has the logits at which they are called"
        return self.cuts


def cuts_of(thresholds: np.ndarray) -> np.ndarray:
    """Return the logits, float32 (C,), of probabilities at and above which findings are called."""
    kept = np.clip(thresholds, NEVER, 1 - NEVER)
    return np.log(kept / (1 - kept)).astype(np.float32)
