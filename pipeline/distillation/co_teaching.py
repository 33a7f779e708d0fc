"""Co-teaching: two networks, each of which learns from what the other finds easy (Han et al. 2018, Algorithm 1)."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from models.classifier import Classifier
from models.heads import HeadAlone
from models.names import Task
from pipeline.distillation.losses import supervised_loss
from pipeline.distillation.objective import Batch, Memoryless

FIRST = "first."


class Pair(nn.Module):
    """Two networks that train as one; what it answers outside training is the first one's alone."""

    def __init__(self, first: Classifier | HeadAlone, second: Classifier | HeadAlone) -> None:
        super().__init__()
        self.first, self.second = first, second

    def forward(self, inputs: Tensor, return_features: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        """Return the first network's logits (B, C); with `return_features` its features and both logits (2, B, C)."""
        if not return_features:
            return self.first(inputs)
        features, logits = self.first(inputs, return_features=True)
        return features, torch.stack([logits, self.second(inputs)])


def of_first(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the first network's part of a pair's state dict."""
    return {name.removeprefix(FIRST): value for name, value in weights.items() if name.startswith(FIRST)}


class CoTeaching(Memoryless):
    """Each network's mean loss over the share of the batch on which the other one's loss is smallest.

    In epoch e, from 0, the share is 1 - `forget_rate` · min(e / `ramp`, 1): `ramp`, in epochs, is T_k of Algorithm 1.
    `gather` returns the rows of all processes that share a batch, so that what is kept of it does not depend on them.
    """

    def __init__(self, task: Task, forget_rate: float, ramp: int, gather: Callable[[Tensor], Tensor]) -> None:
        self._task: Task = task
        self._forget_rate, self._ramp, self._gather = forget_rate, ramp, gather

    def loss(self, batch: Batch, features: Tensor, logits: Tensor) -> dict[str, Tensor]:
        """Sum of both networks' losses; `logits`: (2, B, C)."""
        losses = torch.stack([supervised_loss(one, batch.targets, self._task) for one in logits])
        whole = self._gather(losses.detach().T).T
        share = 1 - self._forget_rate * min(batch.epoch / self._ramp, 1)
        count = max(1, round(share * whole.shape[1]))
        largest = whole.kthvalue(count, dim=1, keepdim=True).values
        kept = (losses.detach() <= largest).flip(0)
        # each process's mean over its own samples counts by their number: together, the mean over what is kept
        weight = whole.shape[1] / losses.shape[1] / (whole <= largest).sum(dim=1).flip(0)
        first, second = (losses * kept).sum(dim=1) * weight
        return {"total": first + second, "first": first, "second": second}
