"""Smooth parameter averaging of the student, Eq. 1 of RoS-KD (a running mean as in Izmailov et al. 2018)."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, update_bn


def warmup_epochs(warmup: float, epochs: int) -> int:
    """Return how many epochs pass before averaging begins; at least one epoch is averaged."""
    return min(round(warmup * epochs), epochs - 1)


class RunningAverage:
    """W_smooth <- (n W_smooth + W) / (n + 1) over the checkpoints given to `update`; n counts those already averaged.

    Averaging never feeds back into the optimiser (Eq. 2). BatchNorm statistics are not averaged; `finish` recomputes
    them.
    """

    def __init__(self, model: nn.Module) -> None:
        self._averaged = AveragedModel(model)

    @property
    def count(self) -> int:
        """The number n of checkpoints averaged so far."""
        return int(self._averaged.n_averaged.item())

    def update(self, model: nn.Module) -> None:
        """Take one more checkpoint into the mean."""
        self._averaged.update_parameters(model)

    def finish(self, batches: Iterable[Tensor] | None, device: torch.device) -> nn.Module:
        """Recompute the BatchNorm statistics by a pass over training inputs and return the smoothed network.

        With None they stay as they are: those of a frozen backbone.
        """
        if batches is not None:
            update_bn(batches, self._averaged, device)
        return self._averaged.module

    def state_dict(self) -> dict[str, Tensor]:
        """Averaged weights and count, for a resume file."""
        return self._averaged.state_dict()

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take up a saved average."""
        self._averaged.load_state_dict(state)
