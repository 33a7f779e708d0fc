"""Prepare images chunk by chunk; each chunk goes straight to its place in one file that all workers share."""

import hashlib
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.pixels import ImageError
from pipeline.data.journal import Chunk
from pipeline.data.sources.base import Reader, Sized

Span = tuple[int, int, Chunk | None]
"""First image, end, and what the journal knows of them from an earlier run."""


@dataclass(frozen=True)
class Preparer:
    """Writes chunks of images, uint8 (S, S, channels) each, into `array`, whose first image begins at byte `offset`.

    `shape`: (S, S, channels). Picklable where the reader is, since every worker has a copy.
    """

    reader: Reader
    array: Path
    offset: int
    shape: tuple[int, int, int]

    def __call__(self, task: Span) -> Chunk:
        """Prepare the images of a task; returns what the journal knows if pixels and files are still as it says."""
        first, end, earlier = task
        if earlier is not None and earlier.states == self._states(first, end) and self._stands(earlier):
            return earlier
        pixels = np.zeros((end - first, *self.shape), np.uint8)
        hashes, sizes, states, bad = [""] * len(pixels), [(0, 0)] * len(pixels), [], {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about oddities of files that can be read all the same
            for place in range(end - first):
                try:
                    pixels[place], sizes[place], state = self._image(first + place)
                    hashes[place] = _hash(pixels[place].data)
                except (ImageError, OSError) as error:
                    state = self._state(first + place)
                    bad[first + place] = str(error) if isinstance(error, ImageError) else _reason(error)
                states.append(state)
        self._write(first, pixels)
        return Chunk(first, hashes, sizes, _joined(states), bad)

    def _image(self, i: int) -> Sized:
        if hasattr(self.reader, "sized"):
            return Sized(*self.reader.sized(i))  # type: ignore[attr-defined]
        image = self.reader(i)
        return Sized(image, (image.shape[0], image.shape[1]))

    def _state(self, i: int) -> str:
        return self.reader.state(i) if hasattr(self.reader, "state") else ""  # type: ignore[attr-defined]

    def _states(self, first: int, end: int) -> str:
        return _joined([self._state(i) for i in range(first, end)])

    def _stands(self, chunk: Chunk) -> bool:
        """Are the chunk's pixels in the file? After a loss of power the journal may know more than the disk."""
        size = int(np.prod(self.shape))
        with self.array.open("rb", buffering=0) as stream:
            stream.seek(self.offset + chunk.first * size)
            found = [_hash(stream.read(size)) for _ in chunk.hashes]
        return all(digest in ("", now) for digest, now in zip(chunk.hashes, found, strict=True))

    def _write(self, first: int, pixels: np.ndarray) -> None:
        content = pixels.data.cast("B")
        with self.array.open("r+b", buffering=0) as stream:
            stream.seek(self.offset + first * int(np.prod(self.shape)))
            while content:
                content = content[stream.write(content) :]


def _reason(error: OSError) -> str:
    return f"cannot be read: {error.strerror or error}"


def _joined(states: list[str]) -> str:
    return _hash("\n".join(states).encode())


def _hash(content: bytes | memoryview) -> str:
    return hashlib.sha256(content).hexdigest()[:32]
