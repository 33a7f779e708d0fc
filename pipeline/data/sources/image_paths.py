"""From image paths in a table to the files of a folder, and to whether these have colours."""

import os
import posixpath
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from pydicom import dcmread
from pydicom.filereader import read_file_meta_info

from models.images import FORMATS
from pipeline.common.errors import UserError
from pipeline.common.tables import require_unique

PROBED = 64
GREY_MODES = ("1", "L", "LA", "La", "I", "F")
"""Pillow's modes without colours, besides I;16 and its kin."""


def leaves(path: str) -> bool:
    """True if a path that should be relative leads out of its folder; the text alone is looked at, links are not."""
    key = posixpath.normpath(path)
    return key.startswith("/") or key == ".." or key.startswith("../")


def resolve(names: pd.Series, root: Path, table: Path, column: str) -> list[Path]:
    """Return the file of each image path, relative to `root`; `table` and `column` name where the paths come from.

    The folder is listed once and no file is opened, so 100,000 images take seconds. Raises UserError for a path that
    is blank, leaves `root`, is duplicated or names no file.
    """
    for row, name in enumerate(names, 1):
        if not name.strip():
            raise UserError(f"{table}: data row {row}, column {column} is blank; every row needs the path of its image")
        if leaves(name):
            raise UserError(
                f"{table}: data row {row}, column {column}: {name!r} leads out of data.path {str(root)!r}; "
                "paths are relative to that folder and stay in it"
            )
    keys = names.map(_key)
    require_unique(keys, table, column)
    found = {_key(name): path for name, path in _files_below(root)}
    missing = [row for row, key in enumerate(keys) if key not in found]
    if missing:
        shown = ", ".join(repr(names.iloc[row]) for row in missing[:3])
        raise UserError(
            f"{table}: data row {missing[0] + 1}, column {column}: no such file below {str(root)!r}; "
            f"{len(missing)} of {len(names)} images are missing: {shown}{', …' * (len(missing) > 3)}. The column holds "
            "paths relative to that folder with their ending (images/a.jpg); copy the files there, or take the rows out"
        )
    return [Path(found[key]) for key in keys]


def _key(name: str) -> str:
    """A path in the one form that is compared: `./a//b` is `a/b`, and letters with accents are composed (NFC)."""
    return unicodedata.normalize("NFC", posixpath.normpath(name))


def _files_below(root: Path) -> Iterator[tuple[str, str]]:
    """Yield (path relative to root, path) of every file below root; a link back to a folder above is not followed."""
    waiting: list[tuple[str, str, frozenset[tuple[int, int]]]] = [(str(root), "", frozenset())]
    while waiting:
        folder, prefix, above = waiting.pop()
        try:
            status = Path(folder).stat()
            here = (status.st_dev, status.st_ino)
            if here in above:
                continue
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.is_dir():
                        waiting.append((entry.path, f"{prefix}{entry.name}/", above | {here}))
                    elif entry.is_file():
                        yield prefix + entry.name, entry.path
        except OSError as error:
            raise UserError(f"{folder}: cannot be listed: {error.strerror}") from error


def colour_channels(files: Sequence[Path]) -> int:
    """Return 3 if one of up to 64 files, evenly spread over the table, is stored with colours or a palette, else 1.

    Only headers are read. A grey picture stored as RGB counts as coloured; a file that cannot be read says nothing.
    """
    rows = np.unique(np.linspace(0, len(files) - 1, PROBED).round().astype(int))
    return 3 if any(_is_coloured(files[row]) for row in rows) else 1


def _is_coloured(file: Path) -> bool:
    try:
        with file.open("rb") as stream:
            if stream.read(132)[128:] == b"DICM":
                return _is_coloured_dicom(file)
            with Image.open(stream, formats=FORMATS) as picture:
                return picture.mode not in GREY_MODES and not picture.mode.startswith("I;16")
    except Exception:  # decoders raise nearly anything on damaged files; `prepare` says what is wrong with this one
        return False


def _is_coloured_dicom(file: Path) -> bool:
    if read_file_meta_info(file).TransferSyntaxUID.is_deflated:
        return False  # reading even the header would inflate all of it; `prepare` refuses it
    header = dcmread(file, stop_before_pixels=True, specific_tags=["PhotometricInterpretation"])
    return not str(header.PhotometricInterpretation).startswith("MONOCHROME")
