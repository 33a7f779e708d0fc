"""MedMNIST: any 2-D member, read from the .npz file that is published for each size."""

import hashlib
import http.client
import math
import shutil
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd
from tqdm import tqdm

from models.errors import hint
from models.images import Resize, to_square
from models.names import Task
from pipeline.common.errors import UserError
from pipeline.common.files import atomic
from pipeline.common.labels import SEPARATOR
from pipeline.data.sources.base import Source, require_folder
from pipeline.data.sources.medmnist_members import MEMBERS, RECORD, Member
from pipeline.params.data import DataParams

SPLITS = ("train", "val", "test")
BLOCK = 1 << 20
"""Bytes that are copied at a time."""
TIMEOUT = 60
"""Seconds without an answer after which a download is given up."""


@dataclass(frozen=True)
class RawImages:
    """A reader of uint8 images of one shape (H, W, channels), one after another in a file."""

    path: Path
    shape: tuple[int, int, int]
    size: int
    resize: Resize

    def __call__(self, i: int) -> np.ndarray:
        length = math.prod(self.shape)
        pixels = np.fromfile(self.path, np.uint8, count=length, offset=i * length)
        return to_square(pixels.reshape(self.shape), self.size, self.resize)

    def sized(self, i: int) -> tuple[np.ndarray, tuple[int, int]]:
        """Return the image and its height and width before the resize."""
        return self(i), self.shape[:2]


def open_medmnist(task: Task, params: DataParams) -> Source:
    """Open `params.medmnist.dataset` in the folder `params.path`; a missing file is fetched if `download` is true.

    Classes are named as MedMNIST names them, source_split is its own split. MedMNIST publishes no patient ids, so each
    image is its own group: several images of one patient or lesion may be in different splits.
    Only the labels are read here. Raises UserError.
    """
    name, size = params.medmnist.dataset, params.medmnist.size
    member = _member(name)
    if task != member.task:
        raise UserError(f"task is {task}, but {name} of MedMNIST is {member.task}; set task to {member.task}")
    path = Path(params.path) / (f"{name}.npz" if size == 28 else f"{name}_{size}.npz")
    _require_file(path, member.md5[size], params.medmnist.download)
    with _archive(path) as archive:
        channels = _channels(archive, path, size)
        samples = pd.concat([_samples(archive, path, split, member) for split in SPLITS], ignore_index=True)
    shape = (size, size, channels)

    def open_images(scratch: Path) -> RawImages:
        raw = scratch / f"{path.stem}.raw"
        _unpack(path, raw, len(samples) * math.prod(shape))
        return RawImages(raw, shape, params.image_size, params.resize)

    return Source(samples, member.classes, channels, open_images, (path,))


def _member(name: str) -> Member:
    if name not in MEMBERS:
        meant = hint(name, MEMBERS, f"the 2-D members are {', '.join(MEMBERS)}")
        raise UserError(f"data.medmnist.dataset is {name!r}, which is no 2-D member of MedMNIST; {meant}")
    return MEMBERS[name]


def _require_file(path: Path, md5: str, download: bool) -> None:
    if path.is_file():
        return
    if download:
        _download(f"{RECORD}/{path.name}?download=1", path, md5)
        return
    require_folder(path.parent, f"{path.name} (data.medmnist.download: true fetches it)")
    raise UserError(
        f"{path}: no such file. Copy it there from {RECORD.removesuffix('/files')}, or set data.medmnist.download: true"
    )


def _download(url: str, path: Path, md5: str) -> None:
    """Fetch `url`; the file takes its name once its checksum is that of the published one."""
    digest = hashlib.md5(usedforsecurity=False)
    with atomic(path) as temporary:
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT) as answer, temporary.open("wb") as file:
                total = int(answer.headers.get("Content-Length") or 0) or None
                with tqdm(total=total, desc=f"fetch {path.name}", unit="B", unit_scale=True, mininterval=1.0) as bar:
                    while block := answer.read(BLOCK):
                        digest.update(block)
                        file.write(block)
                        bar.update(len(block))
        except (OSError, http.client.HTTPException) as error:
            raise UserError(
                f"{path}: fetching {url} failed: {error}. Try again, or copy the file there and set "
                "data.medmnist.download: false"
            ) from error
        if digest.hexdigest() != md5:
            raise UserError(
                f"{path}: what {url} sent has MD5 {digest.hexdigest()}, the published file has {md5}; nothing was "
                "kept. Try again, or copy the file there yourself"
            )


@contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open an .npz file; damage found while reading becomes a UserError."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError) as error:
        raise UserError(
            f"{path}: cannot be read as .npz, it may be damaged or cut off ({error}). Delete it and fetch it again"
        ) from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read or unpacked: {error}") from error


def _channels(archive: zipfile.ZipFile, path: Path, size: int) -> int:
    """Return 1 or 3; raises UserError where arrays are absent, or the images are not uint8 of that size."""
    names = [f"{split}_{kind}" for split in SPLITS for kind in ("images", "labels")]
    absent = [name for name in names if f"{name}.npy" not in archive.namelist()]
    if absent:
        raise UserError(f"{path}: holds no array {', '.join(absent)}; a file of MedMNIST has {', '.join(names)}")
    known = {(size, size): 1, (size, size, 1): 1, (size, size, 3): 3}
    channels = set()
    for split in SPLITS:
        with archive.open(f"{split}_images.npy") as stream:
            shape, _, dtype = _header(stream)
        if dtype != np.uint8 or shape[1:] not in known:
            raise UserError(
                f"{path}: {split}_images is {dtype} {shape}; for data.medmnist.size {size} it is uint8 "
                f"(n, {size}, {size}) or (n, {size}, {size}, 3). Does the file's name fit its content?"
            )
        channels.add(known[shape[1:]])
    if len(channels) > 1:
        raise UserError(f"{path}: images are grey in one split and coloured in another; fetch the file again")
    return channels.pop()


def _samples(archive: zipfile.ZipFile, path: Path, split: str, member: Member) -> pd.DataFrame:
    """The rows of one split; raises UserError for labels that are not what the member should have."""
    with archive.open(f"{split}_images.npy") as stream:
        images = _header(stream)[0][0]
    with archive.open(f"{split}_labels.npy") as stream:
        labels = np.lib.format.read_array(stream, allow_pickle=False)
    several = member.task == "multilabel"
    wanted = (images, len(member.classes) if several else 1)
    if labels.shape != wanted:
        raise UserError(f"{path}: {split}_labels has the shape {labels.shape}, wanted is {wanted}")
    highest = 1 if several else len(member.classes) - 1
    bad = np.argwhere(~np.isin(labels, range(highest + 1)))
    if len(bad):
        row, column = bad[0].tolist()
        value = labels[row, column]
        raise UserError(f"{path}: {split}_labels, row {row}, column {column}: {value} is none of 0 to {highest}")
    numbers = [np.flatnonzero(row).tolist() for row in labels] if several else labels.astype(int).tolist()
    ids = [f"{split}_{i:06d}" for i in range(images)]
    cells = [SEPARATOR.join(member.classes[c] for c in row) for row in numbers]
    return pd.DataFrame({"sample_id": ids, "group_id": ids, "label": cells, "source_split": split})


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Read the header of an .npy file: shape, whether columns come first, type."""
    if np.lib.format.read_magic(stream) == (1, 0):
        return np.lib.format.read_array_header_1_0(stream)
    return np.lib.format.read_array_header_2_0(stream)


def _unpack(path: Path, raw: Path, length: int) -> None:
    """Write the pixels of train, val and test one after another to the file `raw`, `length` bytes, block by block."""
    with atomic(raw) as temporary, temporary.open("wb") as file, _archive(path) as archive:
        for split in SPLITS:
            with archive.open(f"{split}_images.npy") as stream:
                if not _header(stream)[1]:
                    shutil.copyfileobj(stream, file, BLOCK)
                    continue
            with archive.open(f"{split}_images.npy") as stream:  # columns first: turned in memory
                file.write(np.lib.format.read_array(stream, allow_pickle=False).tobytes())
        if file.tell() != length:
            raise ValueError(f"it holds {file.tell()} bytes of pixels, its headers say {length}")
