"""How far an attacked image may be from the clean one: norms, projections, and the image that keeps to them exactly.

Images are float32 (B, channels, H, W) in [0, 1]; a norm is that of one image's whole perturbation.
"""

from collections.abc import Sequence
from typing import get_args

import numpy as np
import torch
from torch import Tensor

from pipeline.evaluation.attacked import Norm


def require_norm(norm: str) -> None:
    """Raise ValueError for an unknown norm."""
    if norm not in get_args(Norm):
        raise ValueError(f"norm is {norm!r}; known are {', '.join(get_args(Norm))}")


def lengths(perturbations: Tensor) -> Tensor:
    """Return the L2 norms (B, 1, 1, 1), in the perturbations' precision."""
    return perturbations.flatten(1).norm(dim=1).view(-1, 1, 1, 1)


def steepest(gradients: Tensor, norm: Norm) -> Tensor:
    """Return the perturbation of size 1 that raises a linear loss the most: g / |g|, or the sign of g; 0 where g is."""
    if norm == "linf":
        return gradients.sign()
    largest = gradients.abs().amax(dim=(1, 2, 3), keepdim=True)
    scaled = gradients / largest.clamp(min=torch.finfo(gradients.dtype).tiny)  # squares of tiny numbers underflow
    return scaled / lengths(scaled).clamp(min=torch.finfo(gradients.dtype).tiny)


def project(attacked: Tensor, images: Tensor, norm: Norm, eps: float) -> Tensor:
    """Return the attacked images brought back within `eps` of the clean ones, and into [0, 1], up to rounding."""
    moved = attacked - images
    moved = moved.clamp(-eps, eps) if norm == "linf" else moved * (eps / lengths(moved)).clamp(max=1)
    return (images + moved).clamp(0, 1)


def exact(attacked: Tensor, images: Tensor, norm: Norm, eps: float) -> Tensor:
    """Return the attacked images with no pixel outside [0, 1] and no perturbation larger than `eps`, exactly.

    Each pixel is rounded towards the clean one, since images + perturbation in float32 may end a rounding further away.
    """
    clean = images.double()
    moved = attacked.double().clamp(0, 1) - clean
    if norm == "linf":
        moved = moved.clamp(-eps, eps)
    else:
        size = lengths(moved)
        moved = torch.where(size > eps, moved * (eps * (1 - 1e-12) / size), moved)
    rounded = (clean + moved).float()
    further = (rounded.double() - clean).abs() > moved.abs()
    return torch.where(further, torch.nextafter(rounded, images), rounded)


def random_starts(images: Tensor, norm: Norm, eps: float, draws: Sequence[np.random.Generator]) -> Tensor:
    """Return images moved to a point drawn evenly from the ball of radius `eps`; `draws`: a generator for each."""
    shape = tuple(images.shape[1:])
    if norm == "linf":
        moved = np.stack([one.uniform(-eps, eps, shape) for one in draws])
    else:
        drawn = [(one.standard_normal(shape), one.random()) for one in draws]
        moved = np.stack([eps * radius ** (1 / way.size) * way / np.linalg.norm(way) for way, radius in drawn])
    return (images + torch.from_numpy(moved.astype(np.float32)).to(images.device)).clamp(0, 1)
