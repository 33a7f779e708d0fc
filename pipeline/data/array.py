"""Decode and resize every image once into one uint8 array, and read it back as a memory map."""

from pathlib import Path

import numpy as np
from tqdm import tqdm

from models.images import ImageError
from pipeline.data.sources import Source
from pipeline.errors import UserError
from pipeline.files import atomic


def write_images(source: Source, path: Path, image_size: int, max_bad_fraction: float) -> dict[str, str]:
    """Write images.npy, uint8 (N, S, S, channels), and return {sample_id: reason} of the images left out.

    Row r is the r-th *readable* image of `source.samples`. Raises UserError if more than `max_bad_fraction` of the
    images cannot be read; nothing is left at `path` then.
    """
    total = len(source.samples)
    bad: dict[str, str] = {}
    with atomic(path) as temporary:
        shape = (total, image_size, image_size, source.channels)
        images = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=shape)
        read = source.open_images(path.parent)
        row = 0
        for i in tqdm(range(total), desc="prepare", unit="image", mininterval=1.0):
            try:
                images[row] = read(i)
                row += 1
            except (ImageError, OSError) as error:
                bad[str(source.samples["sample_id"].iloc[i])] = str(error)
        images.flush()
        _require_few(bad, total, max_bad_fraction)
        if bad:
            _shorten(temporary, images, row)
    return bad


def _require_few(bad: dict[str, str], total: int, max_bad_fraction: float) -> None:
    if len(bad) > max_bad_fraction * total:
        shown = "; ".join(f"{name}: {reason}" for name, reason in list(bad.items())[:5])
        raise UserError(
            f"prepare: {len(bad)} of {total} images cannot be read, more than data.max_bad_fraction "
            f"{max_bad_fraction:g} allows. The first: {shown}. Repair them, take them out, or raise the fraction"
        )


def _shorten(path: Path, images: np.memmap, rows: int) -> None:
    """Rewrite the array without its unused tail, block by block, so that memory stays flat."""
    shorter = path.with_suffix(".short.npy")
    target = np.lib.format.open_memmap(shorter, mode="w+", dtype=np.uint8, shape=(rows, *images.shape[1:]))
    for start in range(0, rows, 4096):
        target[start : start + 4096] = images[start : min(start + 4096, rows)]
    target.flush()
    shorter.replace(path)
