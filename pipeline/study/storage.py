"""Where a study's trials are kept: a journal file for the workers of one machine, a database for many."""

import json
import os
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from pipeline.common import layout as artifacts
from pipeline.common.errors import UserError
from pipeline.common.files import locked
from pipeline.params.tree import Params

JOURNAL = artifacts.STUDIES / "journal.log"
VARIABLE = "ROSKD_STUDY_STORAGE"
"""Environment variable that stands for `study.storage`: a password does not belong into a versioned file."""
HEARTBEAT, GRACE = 5, 20
"""Seconds between a worker's signs of life in a database, and without one until its trial is given to another."""


def open_storage(params: Params) -> BaseStorage:
    """Open what `study.storage` names; raises UserError where it cannot be reached or is none."""
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    place = os.environ.get(VARIABLE) or params.study.storage
    return _journal(JOURNAL) if place == "journal" else _database(place)


@contextmanager
def storage_errors_told() -> Iterator[None]:
    """Tell a storage that fails in mid-study as something the user can mend."""
    try:
        yield
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        raise UserError(
            f"study.storage was lost: {_first_line(error)}. The trials that are finished are kept; once it can be "
            "reached again, the same command goes on"
        ) from error


class _JournalLock(JournalFileOpenLock):
    """The lock of a journal, which the system frees however its holder ends; Optuna's own stays after a kill."""

    def __init__(self, path: Path) -> None:
        self._path, self._held = path, ExitStack()

    def acquire(self) -> bool:
        held = ExitStack()
        held.enter_context(locked(self._path))
        self._held = held
        return True

    def release(self) -> None:
        self._held.close()


def _journal(path: Path) -> BaseStorage:
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_name(f".{path.name}.lock")  # not Optuna's name for it: a dashboard would wait for it for ever
    with locked(lock):
        _mend(path)
    return JournalStorage(JournalFileBackend(str(path), _JournalLock(lock)))


def _mend(path: Path) -> None:
    """Cut off an entry that its writer did not finish; raises UserError, and changes nothing, if this is no journal."""
    content = path.read_bytes() if path.exists() else b""
    if not content:
        return
    *lines, rest = content.split(b"\n")
    for number, line in enumerate(lines or [rest], 1):
        try:
            entry = json.loads(line)
        except ValueError:
            entry = None
        if not isinstance(entry, dict) or "op_code" not in entry:
            raise UserError(f"{path}: is no journal of studies (see its line {number}); move it away to begin anew")
    if lines and rest:
        with path.open("r+b") as stream:
            stream.truncate(len(content) - len(rest))


def _database(place: str) -> BaseStorage:
    try:
        url = make_url(place)
    except (SQLAlchemyError, ValueError) as error:
        told = "(not shown, for it may hold a password)" if "@" in place else repr(place)
        raise UserError(
            f"study.storage is {told}: neither journal nor the URL of a database such as "
            "postgresql://user:password@host:5432/optuna"
        ) from error
    shown = url.render_as_string(hide_password=True)
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg2")
    try:
        return RDBStorage(
            url.render_as_string(hide_password=False),
            engine_kwargs={"pool_pre_ping": True},
            heartbeat_interval=HEARTBEAT,
            grace_period=GRACE,
        )
    except (SQLAlchemyError, ImportError, RuntimeError) as error:
        raise UserError(
            f"study.storage {shown}: cannot be used: {_first_line(error)}\nStart the database or correct the URL "
            f"(params.yaml, or the environment variable {VARIABLE}); journal keeps the trials in {JOURNAL}"
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
