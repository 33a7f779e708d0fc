"""Atomic writes and content hashes: nothing half-written is left looking finished."""

import errno
import fcntl
import glob
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
from safetensors import SafetensorError

from pipeline.common.errors import UserError

FULL = 2**16
"""With fewer bytes free, a disk counts as full, whatever a writer says."""


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it takes the name `path` once the block ends without an error.

    The temporary name keeps the suffix, since writers like np.save look at it. Missing folders are made, the content is
    flushed to the disk before it takes its name, and what dead processes left is removed. On a full disk, whatever the
    writer raises becomes an OSError that names `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    _sweep(path)
    try:
        with full_disk_named(path):
            yield temporary
            flush(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _sweep(path: Path) -> None:
    """Remove unfinished writes of `path` whose process is gone."""
    for left in path.parent.glob(f".{glob.escape(path.stem)}.*.partial{glob.escape(path.suffix)}"):
        pid = left.name.removeprefix(f".{path.stem}.").split(".")[0]
        if pid.isdecimal() and not psutil.pid_exists(int(pid)):
            left.unlink(missing_ok=True)


@contextmanager
def full_disk_named(path: Path) -> Iterator[None]:
    """Turn whatever a writer raises on a full disk into an OSError with the name of the file or folder."""
    try:
        yield
    except (OSError, RuntimeError, ValueError, SafetensorError) as error:
        number = getattr(error, "errno", None)
        if number in (errno.ENOSPC, errno.EDQUOT) or (number is None and free_space(path.parent) < FULL):
            number, name = number or errno.ENOSPC, getattr(error, "filename", None) or str(path)
            raise OSError(number, os.strerror(number), name) from error
        raise


def free_space(folder: Path) -> int:
    """Return the bytes that a user may still write to the disk of `folder`."""
    there = next(one for one in (folder, *folder.absolute().parents) if one.exists())
    return shutil.disk_usage(there).free


def require_free(folder: Path, size: int, what: str) -> None:
    """Raise UserError unless the disk of `folder` has `size` bytes free, which `what` needs."""
    if (free := free_space(folder)) < size:
        raise UserError(
            f"{folder}: its disk has {free >> 20:,} MiB free, and {what} needs about {size >> 20:,} MiB. Make room, "
            "and run the same command again: what is finished is kept"
        )


def flush(path: Path) -> None:
    """Write a file's content through to the disk: a loss of power must not leave it looking finished."""
    if path.is_file():
        with path.open("rb") as stream:
            os.fsync(stream.fileno())


def require_digest(path: Path, digest: str | None, remedy: str) -> None:
    """Raise UserError unless the SHA-256 of `path` is `digest`."""
    try:
        found = sha256_file(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}). {remedy}") from error
    if found != digest:
        raise UserError(f"{path}: is damaged, its SHA-256 is not the one it was written with. {remedy}")


def file_state(path: Path) -> tuple[int, int] | None:
    """Return size and time of change of a file, by which a changed one is noticed; None where there is none."""
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_size, state.st_mtime_ns


def require_content(path: Path, digest: str, seen: Path, remedy: str) -> None:
    """Raise UserError unless the SHA-256 of `path` is `digest`.

    The JSON file `seen` remembers what has been compared, so that a file is read once for each content and time of
    change.
    """
    known = json.loads(seen.read_text(encoding="utf-8")) if seen.exists() else {}
    found = [digest, *(file_state(path) or ())]
    if known.get(str(path)) == found:
        return
    require_digest(path, digest, remedy)
    with suppress(OSError):  # a store that cannot be written costs another comparison, no more
        write_json(seen, known | {str(path): found})


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically, with newlines as given."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically: indented, keys in the order given, NaN refused."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def reserve(path: Path, size: int) -> None:
    """Give an existing file `size` bytes and claim their place on the disk at once, where the system can.

    Writing through a memory map to a full disk kills the process with SIGBUS; here it is an OSError that names `path`.
    """
    with path.open("r+b") as stream:
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(stream.fileno(), 0, size)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):  # what a file system without it answers
                raise OSError(error.errno, error.strerror, str(path)) from error
        stream.truncate(size)


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold the lock of the file `path`, which is made, inside the block; yields whether it is held.

    `wait` False does not wait for another holder, but yields False. The system frees the lock however a process ends.
    """
    with path.open("a") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True


def replace_folder(source: Path, target: Path) -> None:
    """Move a finished folder into place, removing what was there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        shutil.rmtree(target)
    source.replace(target)


def sha256_file(path: Path) -> str:
    """Return the hex SHA-256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_json(content: Any) -> str:
    """Return the hex SHA-256 of a JSON-able tree, independent of the order of keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, allow_nan=False).encode()).hexdigest()


def sha256_files(paths: Iterable[Path]) -> str:
    """Return one hex SHA-256 for the contents of several files, in the order given."""
    return sha256_json([sha256_file(path) for path in paths])
