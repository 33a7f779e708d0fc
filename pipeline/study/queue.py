"""The units of a study as a queue that any number of workers empty; each is done once, whatever dies.

A unit is done when one of its trials is complete or pruned, or its last failed with a reason of its own. A trial whose
worker was killed is begun again: where the storage is a database, its missing heartbeat tells; with a journal, the lock
that a worker holds on a file for as long as it lives. Where two machines queue a unit twice, one trial never starts.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import optuna
from optuna.storages import BaseStorage, RDBStorage, fail_stale_trials
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from pipeline.common import layout as artifacts
from pipeline.common.errors import UserError
from pipeline.common.files import locked
from pipeline.study.plan import Plan
from pipeline.study.storage import HEARTBEAT

UNIT, REASON, DROPPED = "unit", "reason", "dropped"
"""A trial's attributes: its unit; why it failed; why it came to nothing though its worker lives."""
DEFINITION, PLANNED = "definition", "planned"
"""A study's attributes: what may not change, and how many units it has put in the queue."""
RETRIES = 3
"""How often a unit whose worker was killed is begun again."""

PLANNED_WITHIN = 30
"""Seconds that the maker of a study has to fill its queue."""

OPEN = (TrialState.WAITING, TrialState.RUNNING)


class Taken(NamedTuple):
    """A trial that is this worker's, and the unit of the plan that it does."""

    study: optuna.Study
    trial: Trial
    unit: int


class Queue:
    """The trials of one study in its storage."""

    def __init__(self, plan: Plan, storage: BaseStorage, folder: Path = artifacts.STUDIES) -> None:
        self._plan, self._storage = plan, storage
        self._locks = folder / ".locks" / plan.stored_as
        self._database = storage if isinstance(storage, RDBStorage) else None

    def create(self, *, again: bool = False) -> None:
        """Make the study if there is none, and put into the queue whatever unit is in no state of being done.

        `again`: units that failed for a reason of their own are queued anew. Raises UserError where a study of that
        name was begun with another definition, or by another program.
        """
        self._locks.mkdir(parents=True, exist_ok=True)
        with locked(self._locks / "plan.lock"):
            direction = "minimize" if self._plan.metric == "loss" else "maximize"
            try:
                self._storage.get_study_id_from_name(self._plan.stored_as)
            except KeyError:
                made = optuna.create_study(
                    storage=self._storage, study_name=self._plan.stored_as, direction=direction, load_if_exists=True
                )  # another machine may have made it just now
                if DEFINITION not in made.user_attrs:
                    made.set_user_attr(DEFINITION, self._plan.definition)
            else:
                self._adopt(direction)
            study = self.study()
            self._queue(study, range(len(self._plan.units)), again=again)
            study.set_user_attr(PLANNED, len(self._plan.units))

    def _adopt(self, direction: str) -> None:
        """Wait until the study's maker, perhaps on another machine, has filled the queue; define it if that died."""
        until = time.monotonic() + PLANNED_WITHIN
        study = self._load()
        while PLANNED not in study.user_attrs and time.monotonic() < until and not _is_foreign(study):
            time.sleep(1)
            study = self._load()
        if DEFINITION not in study.user_attrs and not _is_foreign(study) and study.direction.name.lower() == direction:
            study.set_user_attr(DEFINITION, self._plan.definition)

    def _queue(self, study: optuna.Study, units: Iterable[int], *, again: bool = False) -> None:
        """Queue the units that are neither done nor open; one whose workers were killed too often is given up."""
        found = self._by_unit(study)
        for number in units:
            trials = found.get(number, [])
            last = _speaker(trials)
            if last is not None and (last.state in OPEN or (_is_done(last) and not (again and _has_failed(last)))):
                continue
            killed = sum(_was_killed(trial) for trial in trials)
            if killed > RETRIES and not again:
                reason = {UNIT: number, REASON: f"its worker ended {killed} times"}
                study.add_trial(optuna.create_trial(state=TrialState.FAIL, user_attrs=reason))
                continue
            fixed = {} if self._plan.is_grid else self._plan.units[number].values
            for trial in trials:
                fixed = trial.params or trial.system_attrs.get("fixed_params") or fixed
            study.enqueue_trial(fixed, user_attrs={UNIT: number})

    def _by_unit(self, study: optuna.Study) -> dict[int, list[FrozenTrial]]:
        found: dict[int, list[FrozenTrial]] = {}
        for trial in study.get_trials(deepcopy=False):
            if _unit(trial) < len(self._plan.units):  # the others were queued when the study was to have more
                found.setdefault(_unit(trial), []).append(trial)
        return found

    def _load(self, **options: Any) -> optuna.Study:
        name = self._plan.name
        try:
            return optuna.load_study(study_name=self._plan.stored_as, storage=self._storage, **options)
        except KeyError:
            raise UserError(
                f"study {name}: has not been begun with these parameters; start it with python -m pipeline.study run "
                f"{name}"
            ) from None

    def study(self, **options: Any) -> optuna.Study:
        """Load the study with these options (sampler, pruner); raises UserError where there is none, or another."""
        study = self._load(**options)
        if DEFINITION not in study.user_attrs:
            raise UserError(
                f"study {self._plan.name}: the storage holds a study of that name which another program has made; give "
                "this one another name"
            )
        begun = study.user_attrs[DEFINITION]
        if begun != self._plan.definition:
            raise UserError(f"study {self._plan.name}: {_changes(begun, self._plan.definition)}")
        return study

    def trials(self) -> list[FrozenTrial]:
        """The trial that speaks for each unit begun so far, by unit."""
        found = self._by_unit(self.study())
        return [_speaker(found[unit]) or found[unit][-1] for unit in sorted(found)]

    def left(self) -> int:
        """How many units are not done."""
        return len(self._plan.units) - sum(_is_done(trial) for trial in self.trials())

    def is_busy(self) -> bool:
        """Whether a unit is still open: another worker has its trial, which may come back."""
        return any(trial.state in OPEN for trial in self.trials())

    @contextmanager
    def take(self, options: Callable[[int], dict[str, Any]]) -> Iterator[Taken | None]:
        """Yield a waiting trial, now this worker's; None where none waits. What is raised inside gives its unit back.

        `options(number)` are those to load the study with for trial `number`: its sampler and pruner.
        """
        with ExitStack() as held:
            taken = self._pop(options, held)
            try:
                yield taken
            except BaseException:
                if taken is not None:
                    self._give_back(taken)
                raise

    def reclaim(self) -> list[FrozenTrial]:
        """Put the units of killed workers back into the queue; returns their trials."""
        study = self.study()
        before = {trial.number for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))}
        if self._database is not None:
            fail_stale_trials(study)
        else:
            for number in before:
                with locked(self._lock_of(number), wait=False) as free:
                    if free:
                        study.tell(number, state=TrialState.FAIL, skip_if_finished=True)
        self._queue(study, list(self._by_unit(study)))
        failed = study.get_trials(deepcopy=False, states=(TrialState.FAIL,))
        return [trial for trial in failed if trial.number in before and _was_killed(trial)]

    def _pop(self, options: Callable[[int], dict[str, Any]], held: ExitStack) -> Taken | None:
        self._locks.mkdir(parents=True, exist_ok=True)  # another machine may have made the study
        units = self._by_unit(self.study()).values()
        waiting = [
            (trial, _speaker(trials)) for trials in units for trial in trials if trial.state == TrialState.WAITING
        ]
        for trial, speaker in sorted(waiting, key=lambda pair: pair[0].number):
            trial_id = self._id_of(trial.number)
            try:
                if trial is not speaker:
                    if speaker is not None and _is_done(speaker):
                        self._drop(trial_id, "its unit is done")
                    continue
                if not held.enter_context(locked(self._lock_of(trial.number), wait=False)):
                    continue
                if self._database is not None:  # the first sign of life before the trial runs: never without one
                    self._database.record_heartbeat(trial_id)
                if not self._storage.set_trial_state_values(trial_id, TrialState.RUNNING):
                    continue
            except optuna.exceptions.UpdateFinishedTrialError:
                continue
            if self._database is not None:
                held.enter_context(_heartbeat(self._database, trial_id))
            study = self.study(**options(trial.number))
            study.get_trials(deepcopy=False)  # Optuna's cache of a database must have met a trial to write to it
            return Taken(study, Trial(study, trial_id), _unit(trial))
        return None

    def _give_back(self, taken: Taken) -> None:
        """End a trial that came to nothing, and queue its unit again unless another worker has it by now."""
        try:
            self._drop(self._id_of(taken.trial.number), "given back")
        except optuna.exceptions.UpdateFinishedTrialError:
            return
        self._queue(taken.study, [taken.unit])

    def _drop(self, trial_id: int, why: str) -> None:
        self._storage.set_trial_user_attr(trial_id, DROPPED, why)
        self._storage.set_trial_state_values(trial_id, TrialState.FAIL)

    def _id_of(self, number: int) -> int:
        """The storage's own number of a trial."""
        study_id = self._storage.get_study_id_from_name(self._plan.stored_as)
        return self._storage.get_trial_id_from_study_id_trial_number(study_id, number)

    def _lock_of(self, number: int) -> Path:
        return self._locks / f"trial-{number}.lock"


def _unit(trial: FrozenTrial) -> int:
    return int(trial.user_attrs[UNIT])


def _is_foreign(study: optuna.Study) -> bool:
    """Whether another program has made the study: ours is defined before it has trials."""
    return DEFINITION not in study.user_attrs and bool(study.get_trials(deepcopy=False))


def _speaker(trials: Sequence[FrozenTrial]) -> FrozenTrial | None:
    """The trial that speaks for a unit, of all its trials in order: one with a value; else the first that is open
    since the last that failed for a reason; else that one. None where each came to nothing.
    """
    found = None
    for trial in trials:
        if trial.state in (TrialState.COMPLETE, TrialState.PRUNED):
            return trial
        if _has_failed(trial) or (trial.state in OPEN and (found is None or _has_failed(found))):
            found = trial
    return found


def _is_done(trial: FrozenTrial) -> bool:
    return trial.state in (TrialState.COMPLETE, TrialState.PRUNED) or _has_failed(trial)


def _has_failed(trial: FrozenTrial) -> bool:
    return trial.state == TrialState.FAIL and REASON in trial.user_attrs


def _was_killed(trial: FrozenTrial) -> bool:
    return trial.state == TrialState.FAIL and not {REASON, DROPPED} & trial.user_attrs.keys()


@contextmanager
def _heartbeat(database: RDBStorage, trial_id: int) -> Iterator[None]:
    """Tell the database every few seconds that this worker lives; what fails is tried again with the next beat."""
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(HEARTBEAT):
            with suppress(SQLAlchemyError, optuna.exceptions.StorageInternalError):
                database.record_heartbeat(trial_id)

    thread = threading.Thread(target=beat, daemon=True, name="heartbeat")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


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
