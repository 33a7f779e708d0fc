"""The tracking store: where it is, how it is opened once by many processes, and one plain error where it cannot be."""

import hashlib
import importlib
import logging
import os
import sqlite3
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from pipeline.common.errors import UserError, first_line
from pipeline.common.files import locked

if TYPE_CHECKING:
    from mlflow import MlflowClient

REACHABLE_WITHIN = 10
"""Seconds a tracking server has to answer at all; MLflow's own retries would take minutes."""
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
"""MLflow reads these when it is imported; existing values are kept."""
NOISY = ("mlflow", "alembic")
STORE_ERRORS = "mlflow.store.db.utils"
"""Logs an error of the database with its traceback, and then raises it; `plain_errors` has the words."""


def tracking_uri() -> str:
    """MLFLOW_TRACKING_URI, which `mlflow run` and users set, or the file mlflow.db in the current folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{Path.cwd() / 'mlflow.db'}"


def database_file(uri: str) -> Path | None:
    """The file of a sqlite store, None for every other kind."""
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None


def import_mlflow() -> None:
    """Import mlflow without telemetry and chatter; raises UserError where it is not installed."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    try:
        importlib.import_module("mlflow")
    except ImportError as error:
        raise UserError(
            f"tracking.enabled is true, but mlflow cannot be imported ({error}); "
            "run `make setup`, or set tracking.enabled to false"
        ) from error
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger(STORE_ERRORS).setLevel(logging.CRITICAL)


def connect() -> "MlflowClient":
    """Open the store, creating a fresh sqlite file first if need be; raises UserError that names the URI."""
    uri = tracking_uri()
    import_mlflow()
    _require_answer(uri)
    from mlflow import MlflowClient

    with plain_errors(uri), exclusive(uri):
        if database := database_file(uri):
            _make_whole(database)
        client = MlflowClient(uri)
        client.search_experiments(max_results=1)
    return client


def _make_whole(database: Path) -> None:
    """Make a fresh store under another name and rename it: MLflow cannot open one whose tables were half made.

    A file that an earlier version left in that state holds no runs; it is set aside.
    """
    from mlflow import MlflowClient

    if database.exists():
        if not _is_half_made(database):
            return
        database.replace(database.with_name(f"{database.name}.unfinished"))
        print(f"{database}: its making was interrupted and it holds no runs; set aside, a new one is made", flush=True)
    unfinished = database.with_name(f".{database.name}.partial")
    unfinished.unlink(missing_ok=True)
    MlflowClient(f"sqlite:///{unfinished}").search_experiments(max_results=1)
    unfinished.replace(database)


def _is_half_made(database: Path) -> bool:
    """Whether a file is empty, or has some of MLflow's tables but not the experiment that is made last."""
    if database.stat().st_size == 0:
        return True
    with closing(sqlite3.connect(f"file:{quote(str(database))}?mode=ro", uri=True)) as connection:
        try:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if not tables & {"experiments", "alembic_version"}:
                return not tables
            return "experiments" not in tables or not connection.execute("SELECT 1 FROM experiments").fetchone()
        except sqlite3.DatabaseError:  # no database at all: MLflow's own message says so
            return False


@contextmanager
def plain_errors(uri: str) -> Iterator[None]:
    """Turn what MLflow raises inside the block into one UserError with the URI and the remedy."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError, ImportError) as error:
        if "disk is full" in str(error):
            raise UserError(
                f"tracking store {uri}: the disk is full. Make room, and run the same command again"
            ) from error
        reason = first_line(error)
        raise UserError(f"tracking store {uri}: {reason}\n{_remedy(uri, reason)}") from error


@contextmanager
def exclusive(uri: str) -> Iterator[None]:
    """Hold the lock of a store, so that one process at a time creates its tables, experiment and parent run."""
    database = database_file(uri)
    if database:
        lock = database.with_name(f"{database.name}.lock")
        lock.parent.mkdir(parents=True, exist_ok=True)
    else:
        name = hashlib.sha256(uri.encode()).hexdigest()[:16]
        lock = Path(tempfile.gettempdir()) / f"roskd-{os.getuid()}-{name}.lock"
    with locked(lock):
        yield


def _require_answer(uri: str) -> None:
    """Raise UserError unless a server at an http(s) URI answers; any status will do, MLflow judges it later."""
    if not uri.startswith(("http://", "https://")):
        return
    try:
        parts = urlsplit(uri)  # urllib takes user:password@ for a part of the host's name
        bare = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        urllib.request.urlopen(f"{bare.rstrip('/')}/health", timeout=REACHABLE_WITHIN).close()
    except urllib.error.HTTPError:
        return
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise UserError(f"tracking server {uri} does not answer: {reason}\n{_remedy(uri, '')}") from error


def _remedy(uri: str, reason: str) -> str:
    if "out-of-date database schema" in reason:
        return (
            f"Copy it, then migrate it with `mlflow db upgrade {uri}`; or move it away: make repro restores the runs."
        )
    if database_file(uri):
        return (
            "Check that the file can be written and is MLflow's, or move it away: the next `make repro` restores the "
            "runs from artifacts/. tracking.enabled: false in params.yaml turns tracking off."
        )
    return (
        "Start the server or correct MLFLOW_TRACKING_URI; unset it to use mlflow.db in this folder, "
        "or set tracking.enabled to false in params.yaml."
    )
