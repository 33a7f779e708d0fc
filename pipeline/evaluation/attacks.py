"""Attacks that climb the gradient, in pixel space: FGSM and PGD, in L2 and L-infinity (method, section 10).

The network normalises for itself. Its weights are not changed; it has to be in evaluation mode, so that BatchNorm's
statistics are as they are at evaluation.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.common.errors import UserError
from pipeline.evaluation.attacked import Norm
from pipeline.evaluation.budgets import exact, project, random_starts, require_norm, steepest
from pipeline.evaluation.goals import Goal

Draws = Callable[[int], Sequence[np.random.Generator]]
"""The generators of each sample for a restart, from 0."""
STEP = 2.5
"""PGD's steps together are so many times eps long (Madry et al. 2018)."""


def answer(model: nn.Module, pixels: Tensor) -> Tensor:
    """Return the logits float32 (B, C). Raises UserError where one is not finite."""
    logits = model(pixels).float()
    broken = int((~logits.isfinite()).any(dim=1).sum())
    if broken:
        raise UserError(
            f"the network under attack answers {broken} of {len(logits)} images with logits that are not finite; train "
            "it again with a lower training.lr, or leave it out of robustness.methods"
        )
    return logits


def input_gradient(model: nn.Module, images: Tensor, goal: Goal) -> tuple[Tensor, Tensor]:
    """Return the logits (B, C) and the gradient of each sample's loss by its pixels, as `images`.

    Raises UserError where the network gives no gradients (an ONNX session, say).
    """
    with torch.enable_grad():
        pixels = images.detach().requires_grad_()
        logits = answer(model, pixels)
        if not logits.requires_grad:
            raise UserError(
                "the network under attack gives no gradients by its pixels, which FGSM and PGD need; leave it out of "
                "robustness.methods"
            )
        (gradient,) = torch.autograd.grad(goal.loss(logits).sum(), pixels)
    return logits.detach(), gradient


def fgsm(model: nn.Module, images: Tensor, goal: Goal, norm: Norm, eps: float) -> Tensor:
    """Return the images after one step of size `eps` up the gradient (Goodfellow et al. 2015), all of them."""
    require_norm(norm)
    _, gradient = input_gradient(model, images, goal)
    return exact(images + eps * steepest(gradient, norm), images, norm, eps)


def pgd(
    model: nn.Module,
    images: Tensor,
    goal: Goal,
    norm: Norm,
    eps: float,
    *,
    steps: int,
    draws: Draws | None = None,
    restarts: int = 1,
) -> Tensor:
    """Return the worst images that projected gradient ascent finds (Madry et al. 2018), sample by sample.

    Worst is where most decisions are turned, and of those where the loss is highest, among all points of all restarts.
    Samples whose decisions are all turned are left out of further restarts. A restart begins at a random point, drawn
    from `draws`; None begins at the clean image, which allows one restart.
    """
    require_norm(norm)
    if steps < 1 or restarts < 1 or (draws is None and restarts > 1):
        raise ValueError(f"{steps} steps, {restarts} restarts: at least 1, and 1 restart without draws")
    worst, rows = _Worst(images), torch.arange(len(images), device=images.device)
    for restart in range(restarts):
        if not len(rows):
            break
        clean, own = images[rows], goal.of(rows)
        start = clean
        if draws is not None:
            drawn = draws(restart)
            start = random_starts(clean, norm, eps, [drawn[row] for row in rows.tolist()])
        _climb(model, clean, start, own, norm, eps, steps, lambda *found, rows=rows: worst.keep(rows, *found))
        rows = torch.nonzero(worst.turned < goal.decisions).flatten()
    return exact(worst.images, images, norm, eps)


def _climb(
    model: nn.Module,
    clean: Tensor,
    point: Tensor,
    goal: Goal,
    norm: Norm,
    eps: float,
    steps: int,
    report: Callable[[Tensor, Tensor, Tensor], None],
) -> None:
    """Go up the gradient from `point`; every point is reported with its turned decisions and loss."""
    for _ in range(steps):
        logits, gradient = input_gradient(model, point, goal)
        report(point, goal.turned(logits), goal.loss(logits))
        point = project(point + STEP * eps / steps * steepest(gradient, norm), clean, norm, eps)
    with torch.no_grad():
        logits = answer(model, point)
        report(point, goal.turned(logits), goal.loss(logits))


class _Worst:
    """The worst point of each sample so far."""

    def __init__(self, images: Tensor) -> None:
        self.images = images.clone()
        self.turned = torch.full((len(images),), -1, dtype=torch.int64, device=images.device)
        self.loss = torch.full((len(images),), -torch.inf, device=images.device)

    def keep(self, rows: Tensor, points: Tensor, turned: Tensor, loss: Tensor) -> None:
        """Keep what is worse than before of the samples `rows`."""
        before = self.turned[rows]
        worse = (turned > before) | ((turned == before) & (loss > self.loss[rows]))
        chosen = rows[worse]
        self.images[chosen], self.turned[chosen], self.loss[chosen] = points[worse], turned[worse], loss[worse]


def zero_gradients(model: nn.Module, images: Tensor, goal: Goal) -> Tensor:
    """Return the share of each clean image's pixels by which the loss has a gradient of exactly 0, float32 (B,)."""
    _, gradient = input_gradient(model, images, goal)
    return (gradient == 0).flatten(1).float().mean(dim=1)
