"""The loss around a network's weights, along filter-normalised random directions (docs/landscape.md).

Directions are those of Li et al. 2018 (arXiv 1712.09913): a filter of the direction is as long as the same filter of
the weights, so that networks whose weights differ in scale can be compared. One grid point after the other: several at
once through `torch.func.vmap` took 1.2 to 1.6 times as long for each (ResNet-18 of width 0.25, 64 images of 64 px, one
thread), since every point has weights of its own.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from pipeline.common.seeds import stream

Weights = Mapping[str, Tensor]
"""The trainable parameters of a network by name."""
Losses = Callable[[Weights], Iterator[Tensor]]
"""Yields the loss of each image at given weights, (B,), block by block."""
SLICE_DENSITY = 4
"""Points of a slice for one step of the grid."""


class UndefinedLossError(ValueError):
    """The loss is NaN; `steps` says how far from the weights, along each direction."""

    def __init__(self, steps: Sequence[float]) -> None:
        super().__init__(f"the loss is NaN at the steps {', '.join(f'{step:g}' for step in steps)}")
        self.steps = tuple(steps)


def image_losses(
    model: nn.Module, criterion: Callable[[Tensor, Tensor], Tensor], blocks: Iterable[tuple[Tensor, Tensor]]
) -> Losses:
    """Return the losses of a network in evaluation mode: BatchNorm has its stored statistics, dropout is off.

    `blocks`: inputs and targets; `criterion`: logits (B, C) and targets to losses (B,).
    """
    model.eval()

    def losses(weights: Weights) -> Iterator[Tensor]:
        for inputs, targets in blocks:
            yield criterion(functional_call(model, dict(weights), (inputs,)), targets)

    return losses


def direction(weights: Weights, seed: int, number: int) -> dict[str, Tensor]:
    """Return random direction `number`, filter by filter as long as `weights`.

    A filter is what makes one output channel or unit: w[i] of a weight of two dimensions or more. Vectors (biases and
    all of BatchNorm) get zeros. The draws depend on the seed, the number, and each weight's name and shape alone.
    """
    return {name: _normalised(weight, seed, f"landscape/{number}/{name}") for name, weight in weights.items()}


def _normalised(weight: Tensor, seed: int, name: str) -> Tensor:
    if weight.ndim < 2:
        return torch.zeros_like(weight)
    normal = stream(seed, name, 0).standard_normal(tuple(weight.shape), dtype=np.float32)
    drawn = torch.from_numpy(normal).to(weight)
    lengths = weight.flatten(1).norm(dim=1) / drawn.flatten(1).norm(dim=1)
    return drawn * lengths.view(-1, *[1] * (weight.ndim - 1))


def axis(radius: float, points: int) -> np.ndarray:
    """Return the steps of one axis, `points` (odd) from -radius to radius; that in the middle is exactly 0."""
    half = points // 2
    return radius * np.arange(-half, half + 1) / half


def slice_points(grid: int) -> int:
    """How many points a slice has beside a surface of `grid` x `grid`."""
    return SLICE_DENSITY * (grid - 1) + 1


@torch.inference_mode()
def loss_at(
    losses: Losses, weights: Weights, directions: Sequence[Weights], steps: Sequence[float], clamp: float
) -> float:
    """Return the mean loss at weights + sum of steps x directions, `clamp` at most. Raises UndefinedLossError."""
    moved = {
        name: weight + sum(step * one[name] for step, one in zip(steps, directions, strict=True))
        for name, weight in weights.items()
    }
    total, images = 0.0, 0
    for block in losses(moved):
        total += block.double().sum().item()
        images += len(block)
    if np.isnan(total):
        raise UndefinedLossError(steps)
    return min(total / images, clamp)


def surface_row(
    losses: Losses, weights: Weights, directions: Sequence[Weights], steps: np.ndarray, first: float, clamp: float
) -> list[float]:
    """Return the losses at `first` along the first direction, and at all `steps` along the second."""
    return [loss_at(losses, weights, directions, (first, float(second)), clamp) for second in steps]


def slice_along(losses: Losses, weights: Weights, along: Weights, steps: np.ndarray, clamp: float) -> list[float]:
    """Return the losses at `steps` along one direction."""
    return [loss_at(losses, weights, [along], (float(step),), clamp) for step in steps]
