"""Where a study's trials are kept: a journal file for the workers of one machine, a database for many."""

import os
import warnings
from pathlib import Path

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.storages.journal import JournalFileBackend
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from pipeline import artifacts
from pipeline.errors import UserError
from pipeline.params import Params

JOURNAL = artifacts.STUDIES / "journal.log"
VARIABLE = "ROSKD_STUDY_STORAGE"
"""Environment variable that stands for `study.storage`: a password does not belong into a versioned file."""
HEARTBEAT, GRACE = 5, 20
"""Seconds between a worker's signs of life in a database, and without one until its trial is given to another."""
RETRIES = 3
"""How often a trial whose worker was killed is begun again."""


def open_storage(params: Params) -> BaseStorage:
    """Open what `study.storage` names; raises UserError where it cannot be reached or is none."""
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    place = os.environ.get(VARIABLE) or params.study.storage
    return _journal(JOURNAL) if place == "journal" else _database(place)


def _journal(path: Path) -> BaseStorage:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return JournalStorage(JournalFileBackend(str(path)))
    except (ValueError, KeyError) as error:
        raise UserError(f"{path}: is no journal of studies ({error}); move it away to begin anew") from error


def _database(place: str) -> BaseStorage:
    try:
        url = make_url(place)
    except SQLAlchemyError as error:
        raise UserError(
            f"study.storage is {place!r}: neither journal nor the URL of a database such as "
            "postgresql://user:password@host/optuna"
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
            heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(max_retry=RETRIES),
        )
    except (SQLAlchemyError, ImportError, RuntimeError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise UserError(
            f"study.storage {shown}: cannot be used: {reason}\nStart the database or correct the URL (params.yaml, or "
            f"the environment variable {VARIABLE}); journal keeps the trials in {JOURNAL}"
        ) from error
