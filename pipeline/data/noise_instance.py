"""Label noise that depends on the image: Xia et al. 2020 (part-dependent label noise), Algorithm 2 of its appendix.

Each sample has its own flip rate, and a random projection of its own class turns the image's features into the odds of
the other classes. What the original leaves to its data sets is fixed here so that a row's noise depends on that row:
- Features are in fixed units, not standardised over the data set. A channel's mean brightness is one feature, and the
  blocks are taken relative to it: counted in every block, the mean that all images share would outweigh what sets
  them apart. On 5,984 lesion images, 40 % of a class's flips then go to one class, 63 % with the mean left in the
  blocks (35 % with features standardised over the data set).
- The flip rates' normal distribution is cut at equal distances from the rate, so that their mean is the rate.
"""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from scipy.special import ndtr, ndtri, softmax

from pipeline.common.seeds import stream
from pipeline.data.noise_matrix import choose

DEVIATION = 0.1
"""Standard deviation of the flip rates before they are cut off."""
SIDE = 16
"""An image is averaged to at most SIDE x SIDE blocks."""
UNIT = 0.1
"""The share of the brightness range that counts as 1 in the features: about the deviation of blocks in real images."""
BLOCK_BYTES = 2**24
BLOCK_ROWS = 4096


def flip_rates(rate: float, uniforms: np.ndarray) -> np.ndarray:
    """Return one flip rate per uniform number, (N,): Normal(rate, 0.1) within rate ± min(rate, 1 - rate).

    The interval is within [0, 1] and symmetric, so that the mean is `rate` exactly; at rate 0 all are 0.
    """
    reach = min(rate, 1 - rate)
    low = ndtr(-reach / DEVIATION)
    distance = DEVIATION * ndtri(low + uniforms * (1 - 2 * low))
    return rate + np.clip(distance, -reach, reach)


def features(images: np.ndarray) -> np.ndarray:
    """Return float64 (B, d) of uint8 (B, H, W, channels): block means relative to their channel's mean, then the means.

    The means are relative to mid-grey, all in steps of a tenth of the brightness range; d = channels x (blocks + 1).
    """
    down, across = (_edges(side) for side in images.shape[1:3])
    lines = images.reshape(*images.shape[:2], -1)  # (B, H, W channels): the inner loop runs over contiguous bytes
    pieces = pairwise(down.tolist())
    sums = np.stack([lines[:, top:end].sum(axis=1, dtype=np.uint32) for top, end in pieces], axis=1)
    sums = sums.reshape(len(images), len(down) - 1, *images.shape[2:])
    sums = np.add.reduceat(sums, across[:-1], axis=2)
    blocks = sums / (255.0 * np.outer(np.diff(down), np.diff(across))[:, :, None])
    means = blocks.mean(axis=(1, 2), keepdims=True)
    flat = [(blocks - means).reshape(len(images), -1), means.reshape(len(images), -1) - 0.5]
    return np.concatenate(flat, axis=1) / UNIT


def _edges(side: int) -> np.ndarray:
    """Where the blocks along one side begin, and the end: int64 (blocks + 1,)."""
    count = min(SIDE, side)
    return np.arange(count + 1) * side // count


def through_images(
    targets: np.ndarray, affected: np.ndarray, images: np.ndarray, num_classes: int, rate: float, seed: int
) -> np.ndarray:
    """Return noisy class indices (N,); only rows of `affected` (bool, N) change.

    `images`: uint8 (N, H, W, channels), read block by block so that memory stays flat. Row i takes two uniform numbers
    of the seeded table: one for its flip rate q_i, one that decides among 1 - q_i to stay and q_i softmax(x_i W_y),
    the own class left out.
    """
    uniforms = stream(seed, "label noise", 0).random((len(targets), 2))
    rates = flip_rates(rate, uniforms[:, 0])
    size = features(images[:1]).shape[1]
    projections = stream(seed, "instance noise projections", 0).standard_normal((num_classes, size, num_classes))
    noisy = targets.copy()
    for rows in _blocks(np.flatnonzero(affected), images):
        x = features(images[rows])
        for label in np.unique(targets[rows]):
            own = targets[rows] == label
            chosen = rows[own]
            scores = x[own] @ projections[label]
            scores[:, label] = -np.inf
            probabilities = rates[chosen, None] * softmax(scores, axis=1)
            probabilities[:, label] = 1 - rates[chosen]
            noisy[chosen] = choose(probabilities, uniforms[chosen, 1])
    return noisy


def _blocks(rows: np.ndarray, images: np.ndarray) -> Iterator[np.ndarray]:
    """The rows in pieces whose images are some megabytes."""
    bytes_each = int(np.prod(images.shape[1:]))
    step = int(np.clip(BLOCK_BYTES // bytes_each, 1, BLOCK_ROWS))
    for start in range(0, len(rows), step):
        yield rows[start : start + step]
