"""Where a search's trials are kept, and what may be said of them: Optuna's own storage, heartbeat and retries."""

import copy
import os
import sqlite3
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback, fail_stale_trials
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import SQLAlchemyError

from pipeline.common.errors import UserError, first_line
from pipeline.common.files import locked
from pipeline.common.layout import Layout
from pipeline.params.tree import Params
from pipeline.study.plan import Plan

VARIABLE = "ROSKD_STUDY_STORAGE"
"""Environment variable that replaces `study.storage`: a password does not belong in a versioned file."""
HEARTBEAT, GRACE = 5, 20
"""Seconds between a worker's signs of life, and without one until its trial is given to another."""
RETRIES = 3
"""How often the trial of a killed worker is begun again."""
BUSY = 60
"""Seconds to wait while another process writes to the file."""
REASON, AGAIN, WORKER, DEFINITION = "reason", "again", "worker", "definition"
"""A trial's attributes: why it failed; which failed trial it repeats; who runs it. A study's: what may not change."""


def open_storage(params: Params, layout: Layout) -> RDBStorage:
    """Open what `study.storage` names; raises UserError where it cannot be reached or is none."""
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    place = os.environ.get(VARIABLE) or params.study.storage
    return _file(layout.studies / "studies.db") if place == "sqlite" else _database(place)


@contextmanager
def plain_storage_errors() -> Iterator[None]:
    """Turn the failure of a storage in the middle of a study into a UserError."""
    try:
        yield
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        raise UserError(
            f"study.storage was lost: {first_line(error)}. The trials that are finished are kept; once it can be "
            "reached again, the same command continues"
        ) from error


class Trials:
    """The trials of one search."""

    def __init__(self, plan: Plan, storage: RDBStorage) -> None:
        self._plan, self._storage = plan, storage

    def create(self) -> None:
        """Make the study, if there is none, with the trial of params.yaml's own values first.

        Raises UserError where a study of that name was begun with another definition, or by another program.
        """
        direction = "minimize" if self._plan.metric == "loss" else "maximize"
        name = self._plan.name
        try:
            study = optuna.create_study(storage=self._storage, study_name=name, direction=direction)
        except optuna.exceptions.DuplicatedStudyError:
            study = optuna.load_study(storage=self._storage, study_name=name)
        begun = bool(study.get_trials(deepcopy=False))
        if DEFINITION not in study.user_attrs and not begun and study.direction.name.lower() == direction:
            study.set_user_attr(DEFINITION, self._plan.definition)  # new, or its maker died before it came to this
        self.study()
        if not begun and (own := self._plan.units[0].values):
            study.enqueue_trial(own, skip_if_exists=True)

    def study(self, **options: Any) -> optuna.Study:
        """Load the study with these options (sampler, pruner); raises UserError where there is none, or another."""
        name = self._plan.name
        try:
            study = optuna.load_study(study_name=name, storage=self._storage, **options)
        except KeyError:
            raise UserError(
                f"study {name}: has not been begun; start it with python -m pipeline.study run {name}"
            ) from None
        if DEFINITION not in study.user_attrs:
            raise UserError(
                f"study {name}: the storage holds a study of that name which another program has made; give this one "
                "another name"
            )
        begun = study.user_attrs[DEFINITION]
        if begun != self._plan.definition:
            raise UserError(f"study {name}: {_changes(begun, self._plan.definition)}")
        return study

    def counted(self) -> list[FrozenTrial]:
        """The trials that count: running, complete, pruned, or failed for a reason of their setting's; by number."""
        trials = self.study().get_trials(deepcopy=False)
        repeated = {trial.user_attrs.get(AGAIN) for trial in trials}
        return [
            trial
            for trial in trials
            if trial.state in (TrialState.RUNNING, TrialState.COMPLETE, TrialState.PRUNED)
            or (trial.state == TrialState.FAIL and REASON in trial.user_attrs and trial.number not in repeated)
        ]

    def done(self) -> list[FrozenTrial]:
        """The trials that are over, at most as many as were asked for."""
        over = [trial for trial in self.counted() if trial.state != TrialState.RUNNING]
        return over[: len(self._plan.units)]

    def left(self) -> int:
        """How many trials are still to do."""
        return len(self._plan.units) - len(self.done())

    def is_surplus(self, number: int) -> bool:
        """Whether a trial is one too many: two workers may begin the last one at the same time."""
        return sum(trial.number < number for trial in self.counted()) >= len(self._plan.units)

    def repeat_failed(self) -> None:
        """Queue the settings that failed for a reason of their own once more; the failures no longer count."""
        study = self.study()
        for trial in self.counted():
            if trial.state == TrialState.FAIL:
                study.enqueue_trial(trial.params, user_attrs={AGAIN: trial.number})

    def reclaim(self) -> list[FrozenTrial]:
        """End the trials of workers that show no sign of life, and queue them again; returns them."""
        study = self.study()
        running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        fail_stale_trials(study)
        for trial in running:
            if WORKER not in trial.user_attrs and _age(trial) > GRACE:  # killed before its first heartbeat
                study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
        numbers = {trial.number for trial in running}
        failed = study.get_trials(deepcopy=False, states=(TrialState.FAIL,))
        return [trial for trial in failed if trial.number in numbers and REASON not in trial.user_attrs]

    def give_back(self, number: int) -> None:
        """Queue a trial again whose worker was stopped by something else than its setting."""
        study = self.study()
        trial = study.get_trials(deepcopy=False)[number]
        if trial.state == TrialState.FAIL and REASON not in trial.user_attrs:
            RetryHeartbeatStaleTrialCallback()(study, copy.deepcopy(trial))


def _age(trial: FrozenTrial) -> float:
    return 0.0 if trial.datetime_start is None else time.time() - trial.datetime_start.timestamp()


def _file(path: Path) -> RDBStorage:
    """Open the SQLite file, in write-ahead mode so that readers never wait; one process at a time makes its tables."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.with_name(f".{path.name}.lock")):
        try:
            with sqlite3.connect(path, timeout=BUSY) as connection:
                connection.execute("PRAGMA journal_mode=WAL")
            connection.close()
        except sqlite3.DatabaseError as error:
            raise UserError(f"{path}: is no database of studies ({error}); move it away to start over") from error
        return _open(URL.create("sqlite", database=str(path)), f"the file {path}")


def _database(place: str) -> RDBStorage:
    try:
        url = make_url(place)
    except (SQLAlchemyError, ValueError) as error:
        shown = "(not shown, for it may hold a password)" if "@" in place else repr(place)
        raise UserError(
            f"study.storage is {shown}: neither sqlite nor the URL of a database such as "
            "postgresql://user:password@host:5432/optuna"
        ) from error
    shown = url.render_as_string(hide_password=True)
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg2")
    return _open(url, shown)


def _open(url: URL, shown: str) -> RDBStorage:
    options: dict[str, Any] = {"pool_pre_ping": True}
    if url.drivername == "sqlite":
        options["connect_args"] = {"timeout": BUSY}
    try:
        return RDBStorage(
            url.render_as_string(hide_password=False),
            engine_kwargs=options,
            heartbeat_interval=HEARTBEAT,
            grace_period=GRACE,
            heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(max_retry=RETRIES),
        )
    except (SQLAlchemyError, ImportError, RuntimeError) as error:
        raise UserError(
            f"study.storage {shown}: cannot be used: {first_line(error)}\nStart the database or correct the URL "
            f"(params.yaml, or the environment variable {VARIABLE}); sqlite keeps the trials in artifacts/studies"
        ) from error


def _changes(begun: dict[str, Any], now: dict[str, Any]) -> str:
    """Say what differs from the definition that the study was begun with, and what to do."""
    found = []
    for part in sorted({*begun, *now}):
        before, after = begun.get(part), now.get(part)
        if isinstance(before, dict) and isinstance(after, dict):
            for key in sorted({*before, *after}):
                if before.get(key) != after.get(key):
                    name = f"study.space.{key}" if part == "space" else key
                    found.append(f"{name} was {before.get(key, 'not there')}, is {after.get(key, 'not there')}")
        elif before != after:
            found.append(f"{part} was {before}, is {after}")
    return (
        f"was begun with other parameters: {'; '.join(found)}. Its trials cannot be compared with new ones: set them "
        "back, or give the study another name"
    )
