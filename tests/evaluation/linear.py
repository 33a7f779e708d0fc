"""Networks whose worst case under attack is known in closed form, and one that hides its gradients."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.common.seeds import stream

SHAPE = (3, 4, 5)


class Linear(nn.Module):
    """Logits (B, C) that are linear in the pixels; `flat` (C, 60)."""

    def __init__(self, flat: Tensor, offset: Tensor | None = None) -> None:
        super().__init__()
        self.flat = nn.Parameter(flat, requires_grad=False)
        self.offset = torch.zeros(len(flat)) if offset is None else offset

    def forward(self, pixels: Tensor) -> Tensor:
        return pixels.flatten(1) @ self.flat.T + self.offset


class Masked(nn.Module):
    """A network of two classes with the same decisions, but behind a steep sigmoid whose gradient underflows to 0."""

    def __init__(self, network: nn.Module, steepness: float = 1e4) -> None:
        super().__init__()
        self.network, self.steepness = network, steepness

    def forward(self, pixels: Tensor) -> Tensor:
        ahead = self.network(pixels).diff(dim=1)
        hidden = 10 * torch.sigmoid(self.steepness * ahead) - 5
        return torch.cat([-hidden, hidden], dim=1)


def linear(classes: int = 2, seed: int = 0) -> Linear:
    """A linear network whose weights are drawn."""
    drawn = np.random.default_rng(seed).normal(size=(classes, int(np.prod(SHAPE))))
    return Linear(torch.from_numpy(drawn.astype(np.float32)))


def greys(count: int, low: float = 0.3, high: float = 0.7, seed: int = 1) -> Tensor:
    """Images so far from black and white that small budgets reach neither."""
    drawn = np.random.default_rng(seed).uniform(low, high, (count, *SHAPE))
    return torch.from_numpy(drawn.astype(np.float32))


def draws_of(count: int, seed: int = 0) -> Callable[[int], list[np.random.Generator]]:
    """A generator for each image and restart."""
    return lambda restart: [stream(seed, f"start {restart}", row) for row in range(count)]
