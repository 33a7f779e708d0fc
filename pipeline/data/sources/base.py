"""What every source provides, and the checks that all of them share."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from models.images import Resize, load_sized
from models.pixels import ImageError, Size
from pipeline.common.errors import UserError

Reader = Callable[[int], np.ndarray]
"""Returns image i as uint8 (S, S, channels) at the wished size; picklable, since several processes share the work.

Raises models.images.ImageError or OSError for an image that cannot be read. Two methods may be there besides:
`sized(i)` returns the members of Sized, the last where there are files; without it an image's size is S x S.
`state(i)` returns the state of `sized` without reading, so that no image is kept whose file has changed.
"""


class Sized(NamedTuple):
    """An image as a reader returns it, its height and width before the resize, and the state of its file."""

    pixels: np.ndarray
    size: Size
    state: str = ""


MAX_FILE_BYTES = 2**29
"""Larger files are not even read: 64 million pixels of three times 16 bits are 384 MB."""


@dataclass(frozen=True)
class Source:
    """A data set before any image is decoded.

    `samples`: one row per image with the text columns sample_id, group_id, label (findings joined by `|`) and, where
    the source has a test list or a split column, source_split (test and anything else, or train, val and test).
    `open_images(scratch)` returns the reader; a source whose images are in an archive unpacks it into the folder
    `scratch`, which is empty at first and lives until all images are prepared. `tables` are the files that, with the
    images, define the data.
    """

    samples: pd.DataFrame
    classes: tuple[str, ...]
    channels: int
    open_images: Callable[[Path], Reader]
    tables: tuple[Path, ...] = field(default=())


@dataclass(frozen=True)
class ImageFiles:
    """A reader of one encoded file per image."""

    paths: Sequence[Path]
    size: int
    resize: Resize
    channels: int

    def __call__(self, i: int) -> np.ndarray:
        return self.sized(i).pixels

    def sized(self, i: int) -> Sized:
        """Return the image, its height and width before the resize, and the state of its file."""
        path = self.paths[i]
        with open(path, "rb", buffering=0) as stream:  # noqa: PTH123 (Path.open takes longer)
            status = os.fstat(stream.fileno())
            if status.st_size > MAX_FILE_BYTES:
                reason = f"has {status.st_size:,} bytes, more than the {MAX_FILE_BYTES:,} allowed; shrink it first"
                raise ImageError(reason)
            content = stream.read()
        pixels, size = load_sized(content, size=self.size, resize=self.resize, channels=self.channels)
        return Sized(pixels, size, _state(path, status))

    def state(self, i: int) -> str:
        """Return the path, length and time of change of the image's file."""
        try:
            return _state(self.paths[i], self.paths[i].stat())
        except OSError as error:
            return f"{self.paths[i]} {error.strerror}"


def _state(path: Path, status: os.stat_result) -> str:
    return f"{path} {status.st_size} {status.st_mtime_ns}"


def require_folder(path: Path, layout: str) -> None:
    """Raise UserError unless `path` is a folder; `layout` says what it should hold."""
    if not path.is_dir():
        raise UserError(
            f"data.path is {str(path)!r}: no such folder. It should hold {layout}. Set data.path in params.yaml, "
            "or run make repro PRESET=... DATA=/path/to/the/data"
        )


def list_images(folders: Sequence[Path]) -> dict[str, Path]:
    """Return {file name: path} of all files in `folders`; one directory scan each, no file is opened."""
    found: dict[str, Path] = {}
    for folder in folders:
        with os.scandir(folder) as entries:
            found |= {entry.name: Path(entry.path) for entry in entries if entry.is_file()}
    return found


def require_images(names: pd.Series, found: dict[str, Path], table: Path, where: str) -> list[Path]:
    """Return the path of each named image; raises UserError that names the missing ones."""
    missing = [(row, name) for row, name in enumerate(names, 1) if name not in found]
    if missing:
        row, name = missing[0]
        raise UserError(
            f"{table}: data row {row}: image {name!r} is not in {where} ({len(missing)} of {len(names)} are missing). "
            "Copy the images there, or take their rows out of the table"
        )
    return [found[name] for name in names]
