"""Which files are predicted: files, folders and patterns of the command line, in a fixed order."""

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline.common.errors import UserError

SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".dcm", ".dicom")
"""What images in a folder are called; files of other names are taken where they begin as DICOM."""
DICOM_MARK = 128, b"DICM"


def find_images(arguments: Sequence[str]) -> list[str]:
    """Return the paths of all images once, in the order of the arguments, those of a folder or pattern sorted.

    A file that is named is taken whatever it is called; in folders, also below them, hidden files are left out. Raises
    UserError for an argument that names nothing or no image, OSError for a folder that cannot be read.
    """
    found: dict[str, None] = {}
    for argument in arguments:
        images = list(_images_of(argument))
        if not images:
            raise UserError(
                f"{argument}: holds no image; files called {', '.join(SUFFIXES)} (in any case) and DICOM files of any "
                "name count. Name another folder, or the files themselves"
            )
        found.update(dict.fromkeys(images))
    return list(found)


def _images_of(argument: str) -> Iterator[str]:
    if Path(argument).is_dir():
        yield from _below(argument)
    elif Path(argument).exists():
        yield argument
    elif glob.has_magic(argument):
        for match in sorted(glob.iglob(argument, recursive=True)):  # noqa: PTH207  a pattern may be absolute
            if Path(match).is_dir():
                yield from _below(match)
            elif _counts(Path(match)):
                yield match
    else:
        raise UserError(f"{argument}: no such file or folder; name image files, folders, or a pattern in quotes")


def _below(folder: str) -> Iterator[str]:
    for place, folders, files in os.walk(folder, onerror=_raise):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (str(path) for name in sorted(files) if _counts(path := Path(place) / name))


def _counts(path: Path) -> bool:
    """Whether a file that is not named itself is taken for an image."""
    if path.name.startswith(".") or not path.is_file():  # a pipe would never end
        return False
    if path.suffix.lower() in SUFFIXES:
        return True
    start, mark = DICOM_MARK
    try:
        with path.open("rb") as stream:
            stream.seek(start)
            return stream.read(len(mark)) == mark
    except OSError:  # no image by its name, and it does not say what it is
        return False


def _raise(error: OSError) -> None:
    raise error
