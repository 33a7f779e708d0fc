"""The store: results kept under the hash of everything that decides them, each made once, by stages and studies alike.

A folder `<kind>/<key>` appears whole or not at all. Whoever makes one holds a lock that ends with its process, however
that dies; the unfinished folder stays, and the next maker continues in it. `made_from.json` in each folder holds what
decided the result and the SHA-256 of every file, which is compared when the file is read.
"""

import errno
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pipeline.common.errors import SettingError, UserError
from pipeline.common.files import (
    file_state,
    flush,
    full_disk_named,
    locked,
    replace_folder,
    require_digest,
    sha256_file,
    sha256_json,
    write_json,
)

POLL = 0.5
"""Seconds between looks for what another process makes."""
MADE_FROM = "made_from.json"
OnEpoch = Callable[[int, dict[str, float]], None]
"""Called after each epoch, from 1, with `{"split/metric": value}`; may raise to end the training."""
T = TypeVar("T")


class TrainingAbandonedError(Exception):
    """Raised by a training's listener to end it for good: its unfinished state is dropped."""


class Processes(Protocol):
    """The processes that make one result together (training.world.World)."""

    @property
    def leads(self) -> bool: ...

    def agree(self, value: T) -> T: ...


class Alone:
    """One process."""

    leads = True

    def agree(self, value: T) -> T:
        """Nobody to ask."""
        return value


@dataclass(frozen=True)
class Node:
    """One result: its kind, the JSON-able tree that decides it, the files it consists of, and what makes them.

    `make(folder, on_epoch)` writes `files` into `folder`, where a killed earlier attempt may have left its state.
    """

    kind: str
    title: str
    decides: dict[str, Any]
    files: tuple[str, ...]
    make: Callable[[Path, OnEpoch], None]

    @property
    def key(self) -> str:
        """The hash of everything that decides the result."""
        return sha256_json(self.decides)[:24]


class Store:
    """The folder of all results, shared by the processes of a machine, or of several with a common disk."""

    def __init__(self, root: Path, processes: Processes | None = None) -> None:
        self._root = root
        self._processes = processes or Alone()
        self._compared: set[tuple[Path, tuple[int, int] | None]] = set()

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes."""
        return self._processes.leads

    def path(self, node: Node) -> Path:
        """Where the result is once it is whole."""
        return self._root / node.kind / node.key

    def has(self, node: Node) -> bool:
        """Whether the result is there with all of `node.files`; they may have been made with fewer, or dropped."""
        return self._processes.agree(self._has(node))

    def get(self, nodes: Sequence[Node], on_epoch: OnEpoch | None = None) -> None:
        """Make the results that are missing.

        What another process is making is left to it: this one continues with the rest, and waits at the end. Raises
        UserError that names the node where its folder cannot be written, and what `make` raises.
        """
        missing = [node for node in nodes if not self.has(node)]
        while missing:
            begun = [node for node in missing if self.begin(node, on_epoch)]
            missing = [node for node in missing if not self.has(node)]
            if missing and not begun:
                time.sleep(POLL)

    def begin(self, node: Node, on_epoch: OnEpoch | None = None) -> bool:
        """Make one result, unless it is there; returns False where another process is making it."""
        with self._held(node) as held:
            if not self._processes.agree(held):
                return False
            if not self.has(node):
                self._make(node, on_epoch or (lambda epoch, metrics: None))
        return True

    def record(self, node: Node) -> dict[str, Any]:
        """What made_from.json holds: `seconds`, `decided by`, and `files` with their SHA-256. Raises UserError."""
        path = self.path(node) / MADE_FROM
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            decided_by, _ = found["decided by"], found["files"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{path}: cannot be read ({error}), so nothing says what the {node.title} in that folder was made "
                f"from. {_remedy(path.parent)}"
            ) from error
        if decided_by != json.loads(json.dumps(node.decides)):
            raise UserError(f"{path}: the {node.title} was made from something else. {_remedy(path.parent)}")
        return found

    def file(self, node: Node, name: str) -> Path:
        """Return a file of a finished result; raises UserError unless it is what was written."""
        path = self.path(node) / name
        wanted, seen = self.record(node)["files"].get(name), (path, file_state(path))
        if seen not in self._compared:
            require_digest(path, wanted, _remedy(path.parent))
            self._compared.add(seen)
        return path

    def is_recorded(self, node: Node) -> bool:
        """Whether the result has been made, though some of its files may have been dropped since."""
        return (self.path(node) / MADE_FROM).exists()

    def digest(self, node: Node, name: str) -> str:
        """The SHA-256 of a file of a result, which may have been dropped since."""
        return str(self.record(node)["files"][name])

    def seconds(self, node: Node) -> float:
        """How long the result took to make."""
        return float(self.record(node)["seconds"])

    def made_at(self, node: Node) -> float:
        """When the result was finished, in seconds since the epoch."""
        return (self.path(node) / MADE_FROM).stat().st_mtime

    def drop(self, node: Node, name: str) -> None:
        """Forget a large file that is not needed any more; its hash stays."""
        (self.path(node) / name).unlink(missing_ok=True)

    @contextmanager
    def workspace(self, kind: str, decides: Any) -> Iterator[Path]:
        """Yield a folder for work whose result is moved elsewhere: it survives a kill, and goes when the block ends.

        Leftovers of the same kind that something else decided are removed.
        """
        folder = self._root / kind / f".{sha256_json(decides)[:24]}"
        folder.mkdir(parents=True, exist_ok=True)
        for stale in folder.parent.iterdir():
            if stale != folder:
                shutil.rmtree(stale)
        yield folder
        shutil.rmtree(folder, ignore_errors=True)

    def _has(self, node: Node) -> bool:
        folder = self.path(node)
        return folder.is_dir() and all((folder / name).exists() for name in (MADE_FROM, *node.files))

    @contextmanager
    def _held(self, node: Node) -> Iterator[bool]:
        """Hold the node's lock, in the process that leads."""
        if not self.leads:
            yield False
            return
        lock = self._root / node.kind / f".{node.key}.lock"
        with _disk_errors_named(node, lock.parent):
            lock.parent.mkdir(parents=True, exist_ok=True)
            lock.touch()
        with locked(lock, wait=False) as held:
            yield held

    def _make(self, node: Node, on_epoch: OnEpoch) -> None:
        path, started = self.path(node), time.monotonic()
        folder = path.with_name(f".{path.name}")
        with _disk_errors_named(node, folder):
            folder.mkdir(exist_ok=True)
            try:
                node.make(folder, on_epoch)
            except (SettingError, TrainingAbandonedError):  # another attempt would end the same way
                if self.leads:
                    shutil.rmtree(folder)
                raise
            if self.leads:
                self._finish(node, folder, round(time.monotonic() - started, 3))
        self._processes.agree(None)

    def _finish(self, node: Node, folder: Path, seconds: float) -> None:
        for name in {path.name for path in folder.iterdir()} - {Path(name).parts[0] for name in node.files}:
            (folder / name).unlink()  # the state of earlier attempts
        hashes = {name: sha256_file(folder / name) for name in sorted(node.files)}
        for name in node.files:
            flush(folder / name)
        write_json(folder / MADE_FROM, {"seconds": seconds, "files": hashes, "decided by": node.decides})
        replace_folder(folder, self.path(node))


def link(store: Store, files: Mapping[str, tuple[Node, str]], target: Path) -> None:
    """Put files of finished results into the folder `target`, by name, replacing what is there.

    They are hard links where the file system allows it, so that they take no room of their own. Of several processes
    the one that leads does it. Raises UserError.
    """
    if not store.leads:
        return
    unfinished = target.with_name(f".{target.name}.partial")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    for name, (node, file) in files.items():
        source, place = store.file(node, file), unfinished / name
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source, place)
        except OSError:  # another file system, or one without links
            shutil.copy2(source, place)
    replace_folder(unfinished, target)


@contextmanager
def _disk_errors_named(node: Node, folder: Path) -> Iterator[None]:
    try:
        with full_disk_named(folder / "files"):
            yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM):
            raise
        raise UserError(
            f"{error.filename or folder}: {error.strerror}, while making the {node.title}. What is finished is kept: "
            "make room, or make the folder writable, and run the same command again"
        ) from error


def _remedy(folder: Path) -> str:
    return f"Delete {folder} and run again: it will be made again"
