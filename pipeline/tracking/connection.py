"""The tracking store: where it is, how it is opened once by many processes, and one plain error where it cannot be."""

import hashlib
import importlib
import logging
import os
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.common.errors import UserError
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


def connect() -> "MlflowClient":
    """Open the store, creating a fresh sqlite file first if need be; raises UserError that names the URI."""
    uri = tracking_uri()
    import_mlflow()
    _require_answer(uri)
    from mlflow import MlflowClient

    with plain_errors(uri), exclusive(uri):
        client = MlflowClient(uri)
        client.search_experiments(max_results=1)
    return client


@contextmanager
def plain_errors(uri: str) -> Iterator[None]:
    """Turn what MLflow raises inside the block into one UserError with the URI and the remedy."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        reason = str(error).strip().partition("\n")[0]
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
        urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=REACHABLE_WITHIN).close()
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
