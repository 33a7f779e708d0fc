"""Atomic writes and content hashes: nothing half-written is left looking finished."""

import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it takes the name `path` once the block ends without an error.

    The temporary name keeps the suffix, since writers like np.save look at it. Missing folders are made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


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
    """Move a finished folder into place, removing what stood there."""
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
