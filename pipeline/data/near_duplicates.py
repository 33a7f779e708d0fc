"""Near-duplicates: images of different groups that look the same, whatever their file, brightness or orientation.

Two images are alike where their grey thumbnails correlate. Features of networks were tried and are no measure of it:
those of a copy saved again as JPEG are less alike than those of two lesions (docs/audit.md has the figures).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

SIDE = 16
"""Pixels of a thumbnail's side: details, which differ between copies of other sizes and qualities, are averaged out."""
BLOCK = 1024
"""So many images at a time are compared with as many others."""


@dataclass(frozen=True)
class Matches:
    """For each of N images the most similar one of another group; rather one of another split, where one is alike.

    `place`: int64 (N,), -1 where none is alike; `similarity`: (N,), the correlation, NaN where none is.
    """

    place: np.ndarray
    similarity: np.ndarray


def near_duplicates(images: np.ndarray, groups: np.ndarray, split: np.ndarray, threshold: float) -> Matches:
    """Find images of different groups whose thumbnails correlate by `threshold` or more, upright, turned or mirrored.

    `images`: uint8 (N, H, W, 1 or 3), square; `groups`, `split`: (N,). Images of one colour are like none. Takes time
    by N squared: 6,000 images took 10 s on one core.
    """
    turned = [_unit(one) for one in _orientations(_thumbnails(images))]
    number = np.unique(groups, return_inverse=True)[1]
    part = np.unique(split, return_inverse=True)[1]
    best = {kind: Matches(np.full(len(images), -1), np.full(len(images), -np.inf)) for kind in ("group", "split")}
    for rows, others in _blocks(len(images)):
        similarity = np.max([turned[0][rows] @ one[others].T for one in turned], axis=0)
        similarity[(similarity < threshold) | (number[rows, None] == number[None, others])] = -np.inf
        elsewhere = np.where(part[rows, None] == part[None, others], -np.inf, similarity)
        for kind, found in (("group", similarity), ("split", elsewhere)):
            _keep(best[kind], rows, others, found)
            _keep(best[kind], others, rows, found.T)
    first = best["split"].place >= 0
    place = np.where(first, best["split"].place, best["group"].place)
    similarity = np.where(first, best["split"].similarity, best["group"].similarity)
    return Matches(place, np.where(place >= 0, np.minimum(similarity, 1), np.nan))


def _thumbnails(images: np.ndarray) -> np.ndarray:
    """Float32 (N, SIDE, SIDE), grey."""
    found = np.empty((len(images), SIDE, SIDE), dtype=np.float32)
    for place, image in enumerate(images):
        grey = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).convert("L")
        found[place] = np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.BOX))
    return found


def _orientations(thumbnails: np.ndarray) -> list[np.ndarray]:
    """All eight; the first is upright."""
    mirrored = thumbnails[:, :, ::-1]
    return [np.rot90(one, turns, axes=(1, 2)) for one in (thumbnails, mirrored) for turns in range(4)]


def _unit(thumbnails: np.ndarray) -> np.ndarray:
    """Vectors (N, SIDE * SIDE) whose products are correlations; 0 for an image of one colour."""
    vectors = thumbnails.reshape(len(thumbnails), -1)
    vectors = vectors - vectors.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.where(lengths > 0.5, vectors / np.maximum(lengths, 0.5), 0).astype(np.float32)


def _blocks(N: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Every pair of blocks once: what is like another in some orientation, the other is like it in the inverse one."""
    starts = range(0, N, BLOCK)
    for start in starts:
        for other in starts[start // BLOCK :]:
            yield np.arange(start, min(start + BLOCK, N)), np.arange(other, min(other + BLOCK, N))


def _keep(best: Matches, rows: np.ndarray, others: np.ndarray, found: np.ndarray) -> None:
    """Write the best of `found` (rows x others) where it is better than what was known; of equals the first stays."""
    chosen = found.argmax(axis=1)
    value = found[np.arange(len(rows)), chosen]
    better = value > best.similarity[rows]
    best.place[rows[better]] = others[chosen[better]]
    best.similarity[rows[better]] = value[better]
