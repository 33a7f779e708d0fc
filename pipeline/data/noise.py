"""Label noise for train and validation labels (method, section 7). Row i takes draw i of the seeded table."""

import numpy as np

from pipeline.common.seeds import stream
from pipeline.data.noise_instance import through_images
from pipeline.data.noise_matrix import choose
from pipeline.params.tree import NoiseParams


def flip(targets: np.ndarray, miss_rate: float, false_rate: float, uniforms: np.ndarray) -> np.ndarray:
    """Return noisy findings (N, C): a present one is missed with `miss_rate`, an absent one found with `false_rate`.

    `uniforms`: (N, C) in [0, 1).
    """
    rate = np.where(targets > 0, miss_rate, false_rate)
    return np.where(uniforms < rate, 1 - targets, targets).astype(targets.dtype)


def corrupt(
    targets: np.ndarray,
    affected: np.ndarray,
    num_classes: int,
    params: NoiseParams,
    *,
    transition: np.ndarray | None = None,
    images: np.ndarray | None = None,
    groups: np.ndarray | None = None,
) -> np.ndarray:
    """Return the given labels: `targets`, (N,) or (N, C), with noise where `affected` (bool, N) is True.

    `transition` is the kind's nominal matrix (noise_matrix.nominal); `images`, uint8 (N, H, W, channels), are read for
    kind `instance` alone; `groups`, (N,), for noise.per `group`: every image of a group takes the draw of its first
    one. Draws are made for all rows in the order of the table, so that the noise of a row depends neither on the splits
    nor on the rows after it.
    """
    if params.kind == "instance":
        if images is None:
            raise ValueError("noise kind instance needs the images")
        return through_images(targets, affected, images, num_classes, params.rate, params.seed)
    rng = stream(params.seed, "label noise", 0)
    taken = _draws(len(targets), groups if params.per == "group" else None)
    if targets.ndim == 1:
        if transition is None:
            raise ValueError(f"noise kind {params.kind} needs its transition matrix")
        noisy = choose(transition[targets], rng.random(len(targets))[taken])
    elif params.kind == "none":
        noisy = targets
    else:
        noisy = flip(targets, params.miss_rate, params.false_rate, rng.random(targets.shape)[taken])
    keep = affected if targets.ndim == 1 else affected[:, None]
    return np.where(keep, noisy, targets).astype(targets.dtype)


def _draws(N: int, groups: np.ndarray | None) -> np.ndarray:
    """Return which draw each row takes: its own, or that of the first row of its group; int (N,)."""
    if groups is None:
        return np.arange(N)
    _, first, place = np.unique(groups, return_index=True, return_inverse=True)
    return first[place]


def changed(given: np.ndarray, published: np.ndarray) -> np.ndarray:
    """Return bool (N,): True where the given label differs from the published one in any class."""
    return given != published if given.ndim == 1 else (given != published).any(axis=1)
