"""The teachers asked at every step: the slow reference that stored soft labels are compared with."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class OnlineTeachers:
    """Answers as SoftLabels does, without float16 rounding and at the price of K forward passes a step."""

    def __init__(self, teachers: Sequence[nn.Module], num_classes: int) -> None:
        self._teachers = [teacher.eval() for teacher in teachers]
        self.shape = (len(teachers), num_classes)
        """Number of teachers K and of classes C."""

    @torch.no_grad()
    def logits(self, view: int, index: Tensor, inputs: Tensor) -> Tensor:
        """Return float32 (K, B, C): what each teacher says of the pixels that the student sees.

        Computed in float32, as stored answers are, whatever the student's step is computed in.
        """
        with torch.autocast(inputs.device.type, enabled=False):
            return torch.stack([teacher(inputs).float() for teacher in self._teachers])
