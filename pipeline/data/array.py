"""Decode and resize every image once into one uint8 array (N, S, S, channels), to be read back as a memory map.

The work is done in a folder that survives a kill: `pixels.npy` has a row for every image of the source, `journal.jsonl`
a line for every finished chunk. The same bytes come out for any number of workers and after any number of kills.
Memory does not grow with N, but for a hash, a size and the samples' own table.
"""

import errno
import io
import shutil
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.common.errors import UserError
from pipeline.common.files import reserve, write_json
from pipeline.data.chunks import Preparer, Span
from pipeline.data.journal import Chunk, Journal
from pipeline.data.sources.base import Source
from pipeline.runtime.progress import Progress
from pipeline.runtime.workers import count_cores, share

CHUNK_IMAGES, CHUNK_BYTES = (16, 64), 2**23
"""A chunk is so many images (few where N is small, for work that is shared evenly), or as many as fit into so many
bytes: what a kill costs, and a worker's memory."""
BLOCK_BYTES = 2**23


@dataclass(frozen=True)
class Decoded:
    """Every image of a source, readable or not. Row i of every member but `bad` speaks of image i.

    `array`: file of uint8 (N, S, S, channels), zero where the image is bad; `hashes`: of the pixels, bytes (N,);
    `sizes`: height and width before the resize, int32 (N, 2); `bad`: {image: reason}, in order.
    """

    array: Path
    shape: tuple[int, int, int, int]
    hashes: np.ndarray
    sizes: np.ndarray
    bad: dict[int, str]

    @property
    def good(self) -> np.ndarray:
        """Which images can be read, bool (N,)."""
        good = np.ones(self.shape[0], dtype=bool)
        good[list(self.bad)] = False
        return good


def write_images(
    source: Source, path: Path, image_size: int, max_bad_fraction: float, *, workers: int = 1
) -> dict[str, str]:
    """Write images.npy, uint8 (N, S, S, channels), in one go and return {sample_id: reason} of the images left out.

    Row r is the r-th *readable* image of `source.samples`. Raises UserError if more than `max_bad_fraction` of the
    images cannot be read; nothing is left at `path` then. `workers` as in `decode_images`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".unfinished-") as folder:
        decoded = decode_images(source, Path(folder), image_size, workers=workers)
        require_few_bad(decoded, source, max_bad_fraction)
        readable_array(decoded).replace(path)
    return quarantined(decoded, source)


def decode_images(
    source: Source, folder: Path, image_size: int, *, workers: int, on_chunk: Callable[[], None] = lambda: None
) -> Decoded:
    """Prepare all images in `folder`, continuing from what an earlier run of the same source and size left there.

    `workers`: number of processes, 0 = one per processor core, 1 = this one alone. `on_chunk` is called as each chunk
    finishes and may raise to stop. Raises UserError where the disk is full or a worker is killed.
    """
    total = len(source.samples)
    shape = (total, image_size, image_size, source.channels)
    array, journal = folder / "pixels.npy", Journal(folder / "journal.jsonl")
    offset = _preallocate(array, journal.path, shape)
    scratch = folder / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)  # a kill may have left half an archive
    scratch.mkdir()
    prepare = Preparer(source.open_images(scratch), array, offset, shape[1:])
    tasks = _tasks(shape, journal.read())
    decoded = Decoded(array, shape, np.zeros(total, "S32"), np.zeros((total, 2), np.int32), {})
    kept = sum(len(earlier) for _, _, earlier in tasks if earlier is not None)
    if kept:
        print(f"prepare: continuing from an earlier run; checking its {kept:,} finished images", flush=True)
    progress = Progress("prepare", total, "image")
    earlier = {first: chunk for first, _, chunk in tasks}
    with closing(progress), closing(journal), closing(share(prepare, tasks, workers or count_cores())) as chunks:
        for chunk in chunks:
            if chunk != earlier[chunk.first]:
                journal.append(chunk)
            _enter(decoded, chunk)
            progress.advance(len(chunk))
            on_chunk()
    return Decoded(array, shape, decoded.hashes, decoded.sizes, dict(sorted(decoded.bad.items())))


def require_few_bad(decoded: Decoded, source: Source, max_bad_fraction: float, listed: Path | None = None) -> None:
    """Raise UserError if more than that share of the images cannot be read; the file `listed` then names them all."""
    total = decoded.shape[0]
    bad = quarantined(decoded, source)
    if len(bad) > max_bad_fraction * total:
        if listed is not None:
            write_json(listed, bad)
        shown = "; ".join(f"{name}: {reason}" for name, reason in list(bad.items())[:5])
        raise UserError(
            f"prepare: {len(bad)} of {total} images cannot be read, more than data.max_bad_fraction "
            f"{max_bad_fraction:g} allows. The first: {shown}. Repair them, take them out, or raise the fraction"
            + (f". All are listed in {listed}" if listed else "")
        )


def quarantined(decoded: Decoded, source: Source) -> dict[str, str]:
    """Return {sample_id: reason} of the images that cannot be read."""
    ids = source.samples["sample_id"]
    return {str(ids.iloc[image]): reason for image, reason in decoded.bad.items()}


def readable_array(decoded: Decoded) -> Path:
    """Return the file of the readable images: uint8 (N_good, S, S, channels)."""
    if not decoded.bad:
        return decoded.array
    path = decoded.array.with_name("readable.npy")
    rows = np.flatnonzero(decoded.good)
    images = np.load(decoded.array, mmap_mode="r")
    block = max(1, BLOCK_BYTES // max(1, images[0].nbytes))
    with path.open("wb") as stream:
        stream.write(_header((len(rows), *decoded.shape[1:])))
        for start in range(0, len(rows), block):
            stream.write(images[rows[start : start + block]].tobytes())
    return path


def _tasks(shape: tuple[int, ...], finished: dict[int, Chunk]) -> list[Span]:
    fewest, most = CHUNK_IMAGES
    step = max(1, min(max(fewest, shape[0] // 64), most, CHUNK_BYTES // int(np.prod(shape[1:]))))
    tasks: list[Span] = []
    for first in range(0, shape[0], step):
        end = min(first + step, shape[0])
        earlier = finished.get(first)
        tasks.append((first, end, earlier if earlier is not None and len(earlier) == end - first else None))
    return tasks


def _enter(decoded: Decoded, chunk: Chunk) -> None:
    rows = slice(chunk.first, chunk.first + len(chunk))
    decoded.hashes[rows] = [digest.encode() for digest in chunk.hashes]
    decoded.sizes[rows] = chunk.sizes
    decoded.bad.update(chunk.bad)


def _header(shape: tuple[int, ...]) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return stream.getvalue()


def _preallocate(array: Path, journal: Path, shape: tuple[int, ...]) -> int:
    """Make the file of all pixels unless it is there, with its room on the disk; returns where the first image begins.

    Raises UserError where the disk has too little room.
    """
    header = _header(shape)
    size = len(header) + int(np.prod(shape))
    if array.exists() and array.stat().st_size == size:
        with array.open("rb") as stream:
            if stream.read(len(header)) == header:
                return len(header)
    journal.unlink(missing_ok=True)
    array.write_bytes(header)
    try:
        reserve(array, size)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
            raise
        raise UserError(
            f"{array}: the images take {size / 1e6:,.0f} MB at data.image_size {shape[1]}, which the disk does not "
            f"hold ({error.strerror}). Make room, or choose a smaller image size"
        ) from None
    return len(header)
