"""The Square attack (Andriushchenko et al. 2020): a random search that uses no gradient, in L2 and L-infinity.

Every query changes one square of the image and keeps the change where the decision comes closer to being turned. All
draws of a sample come from its own generator before the search, so that they do not depend on the batch it is in.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.evaluation.attacked import Norm
from pipeline.evaluation.attacks import answer
from pipeline.evaluation.budgets import exact, lengths, project, require_norm
from pipeline.evaluation.goals import Goal

FIRST_SHARE = 0.8
"""Of the pixels, in the first square (as in AutoAttack)."""
HALVED_AT = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)
"""Shares of the queries after which the next squares have half as many pixels."""
LEAST = 1e-12
"""In place of a norm of 0, to divide by."""
TILES = 5
"""In L2 the search begins with so many squares along each side."""


@torch.no_grad()
def square(
    model: nn.Module,
    images: Tensor,
    goal: Goal,
    norm: Norm,
    eps: float,
    *,
    queries: int,
    draws: Sequence[np.random.Generator],
) -> Tensor:
    """Return what the search has found after `queries` forward passes per sample, or once all decisions are turned.

    `draws`: a generator for each sample.
    """
    require_norm(norm)
    if queries < 1:
        raise ValueError(f"queries is {queries}; at least 1 is needed")
    search = {"l2": _Masses, "linf": _Colours}[norm](images, eps, queries, draws)
    best = images.clone()
    logits = answer(model, images)
    closeness = goal.closeness(logits)
    rows = torch.nonzero(goal.turned(logits) < goal.decisions).flatten()
    for query in range(queries):
        if not len(rows):
            break
        tried = project(search.propose(query, best[rows], rows), images[rows], norm, eps)
        logits, own = answer(model, tried), goal.of(rows)
        found = own.closeness(logits)
        closer = (found > closeness[rows]) if query else torch.ones_like(rows, dtype=torch.bool)
        best[rows[closer]], closeness[rows[closer]] = tried[closer], found[closer]
        rows = rows[~(closer & (own.turned(logits) == goal.decisions))]
    return exact(best, images, norm, eps)


def side_at(query: int, queries: int, height: int, width: int) -> int:
    """Return the side of the squares at a query, in pixels, at least 1."""
    halvings = sum(query > share * queries for share in HALVED_AT)
    return max(round((FIRST_SHARE / 2**halvings * height * width) ** 0.5), 1)


class _Colours:
    """L-infinity: each channel of a square moves by eps, up or down; the search begins with vertical stripes."""

    def __init__(self, images: Tensor, eps: float, queries: int, draws: Sequence[np.random.Generator]) -> None:
        self._images, self._eps, self._queries = images, eps, queries
        _, self._channels, self._height, self._width = images.shape
        signs = np.stack([one.integers(0, 2, (self._channels, 1, self._width)) for one in draws])
        self._stripes = _signs(signs, images)
        self._drawn = _uniform(draws, queries, 2 + self._channels, images)

    def propose(self, query: int, best: Tensor, rows: Tensor) -> Tensor:
        """Return the next attempt for the samples `rows`, whose best so far are `best`."""
        clean = self._images[rows]
        if query == 0:
            return clean + self._eps * self._stripes[rows]
        drawn, side = self._drawn[rows, query], side_at(query, self._queries, self._height, self._width)
        side = min(side, self._height, self._width)
        place = _window(drawn[:, 0], drawn[:, 1], side, clean)
        tried, signs = best.clone(), (drawn[:, 2:] < 0.5).to(clean.dtype) * 2 - 1
        tried[place] = clean[place] + self._eps * signs[:, :, None, None]
        return tried


class _Masses:
    """L2: a square takes the perturbation of another, in the shape of a bump and its negative side by side."""

    def __init__(self, images: Tensor, eps: float, queries: int, draws: Sequence[np.random.Generator]) -> None:
        self._images, self._eps, self._queries = images, eps, queries
        _, self._channels, self._height, self._width = images.shape
        self._signs = _signs(np.stack([one.integers(0, 2, (self._channels, TILES, TILES)) for one in draws]), images)
        self._drawn = _uniform(draws, queries, 5 + self._channels, images)

    def propose(self, query: int, best: Tensor, rows: Tensor) -> Tensor:
        """Return the next attempt for the samples `rows`, whose best so far are `best`."""
        clean = self._images[rows]
        moved = self._tiled(rows) if query == 0 else self._exchanged(query, best - clean, self._drawn[rows, query])
        size = lengths(moved)
        return clean + self._eps / size.clamp(min=LEAST) * moved

    def _tiled(self, rows: Tensor) -> Tensor:
        clean, side = self._images[rows], max(min(self._height, self._width) // TILES, 1)
        moved, bump = torch.zeros_like(clean), _bumps(side).to(clean.device)
        for down in range(min(TILES, self._height)):
            for right in range(min(TILES, self._width)):
                top, left = down * side, right * side
                signs = self._signs[rows][:, :, down, right, None, None]
                moved[:, :, top : top + side, left : left + side] = signs * bump
        return moved

    def _exchanged(self, query: int, moved: Tensor, drawn: Tensor) -> Tensor:
        """Move the mass of one window to another, with what the budget has left, and the new shape on top."""
        side = max(side_at(query, self._queries, self._height, self._width), 3)
        side = min(side + 1 - side % 2, (min(self._height, self._width) - 1) // 2 * 2 + 1)
        to, source = (_window(drawn[:, i], drawn[:, i + 1], side, moved) for i in (0, 2))
        both = torch.zeros_like(moved, dtype=torch.bool)
        both[to], both[source] = True, True
        mass = (moved**2 * both).sum(dim=(2, 3), keepdim=True)
        unused = (self._eps**2 - lengths(moved) ** 2).clamp(min=0) / self._channels
        bump, signs = _bumps(side).to(moved), (drawn[:, 5:] < 0.5).to(moved.dtype) * 2 - 1
        turned = (drawn[:, 4] < 0.5)[:, None, None, None]
        shape = torch.where(turned, bump.T, bump) * signs[:, :, None, None]
        before = moved[to]
        shape = shape + before / _size(before)
        after = moved.clone()
        after[source] = 0
        after[to] = shape / _size(shape) * (mass + unused).sqrt()
        return after


def _size(windows: Tensor) -> Tensor:
    """The L2 norm of each channel, not quite 0."""
    return windows.flatten(2).norm(dim=2)[:, :, None, None].clamp(min=LEAST)


def _bumps(side: int) -> Tensor:
    """A bump and its negative, side by side, (side, side) of norm 1."""
    half = side // 2
    whole = torch.cat([_bump(side, half), -_bump(side, side - half)], dim=1)
    return whole / whole.norm()


def _bump(height: int, width: int) -> Tensor:
    """A pyramid whose step from ring to ring grows towards its centre: 1 / (n + 1 - k)^2, k from 0 to n."""
    n = max(height // 2, 1)
    down = (torch.arange(height) - height // 2).abs()[:, None]
    across = (torch.arange(width) - width // 2).abs()[None, :]
    rings = (n - torch.maximum(down, across)).clamp(min=-1)  # how many rings of the pyramid lie below a pixel, less one
    steps = torch.cumsum(torch.tensor([0.0, *(1 / (n + 1 - k) ** 2 for k in range(n + 1))]), dim=0)
    return steps[rings + 1]


def _window(top: Tensor, left: Tensor, side: int, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The indices of a square of each image; `top`, `left`: (B,) in [0, 1)."""
    B, channels, height, width = images.shape
    along = torch.arange(side, device=images.device)
    down = (top * (height - side + 1)).long()[:, None] + along
    right = (left * (width - side + 1)).long()[:, None] + along
    batch = torch.arange(B, device=images.device)[:, None, None, None]
    channel = torch.arange(channels, device=images.device)[None, :, None, None]
    return batch, channel, down[:, None, :, None], right[:, None, None, :]


def _signs(bits: np.ndarray, images: Tensor) -> Tensor:
    return torch.from_numpy(bits.astype(np.float32) * 2 - 1).to(images.device)


def _uniform(draws: Sequence[np.random.Generator], queries: int, each: int, images: Tensor) -> Tensor:
    """Numbers in [0, 1), float64 (B, queries, each)."""
    return torch.from_numpy(np.stack([one.random((queries, each)) for one in draws])).to(images.device)
