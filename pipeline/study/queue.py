"""The units of a study as a queue that any number of workers empty; each is done once, whatever dies.

A unit is done when one of its trials is complete, pruned, or failed with a reason of its own. A trial whose worker was
killed is begun again: where the storage is a database, its missing heartbeat tells; with a journal, the lock that a
worker holds on a file for as long as it lives.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import optuna
from optuna.storages import BaseStorage, RDBStorage, fail_stale_trials
from optuna.trial import FrozenTrial, Trial, TrialState

from pipeline import artifacts
from pipeline.errors import UserError
from pipeline.files import locked
from pipeline.study.plan import Plan
from pipeline.study.storage import HEARTBEAT, RETRIES

UNIT, REASON, DEFINITION, PLANNED = "unit", "reason", "definition", "planned"
"""Attributes: a trial's unit and why it failed; a study's definition and how many units it has put in the queue."""

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
        self._locks = folder / plan.name
        self._beats = isinstance(storage, RDBStorage)

    def create(self) -> None:
        """Make the study if there is none, and put into the queue whatever unit is in no state of being done.

        Raises UserError where a study of that name was begun with another definition.
        """
        self._locks.mkdir(parents=True, exist_ok=True)
        with locked(self._locks / "plan.lock"):
            direction = "minimize" if self._plan.metric == "loss" else "maximize"
            try:
                study = optuna.create_study(storage=self._storage, study_name=self._plan.name, direction=direction)
                study.set_user_attr(DEFINITION, self._plan.definition)
            except optuna.exceptions.DuplicatedStudyError:
                study = self._planned()
            self.reclaim()
            trials = study.get_trials(deepcopy=False)
            known = {_unit(trial) for trial in trials if trial.state in OPEN or _is_done(trial)}
            for number, unit in enumerate(self._plan.units):
                if number not in known:
                    study.enqueue_trial({} if self._plan.is_grid else unit.values, user_attrs={UNIT: number})
            study.set_user_attr(PLANNED, len(self._plan.units))

    def _planned(self) -> optuna.Study:
        """The study once its maker, perhaps on another machine, has filled the queue; the wait ends if that died."""
        until = time.monotonic() + PLANNED_WITHIN
        while PLANNED not in (study := self.study()).user_attrs and time.monotonic() < until:
            time.sleep(1)
        return study

    def study(self, **options: Any) -> optuna.Study:
        """Load the study with these options (sampler, pruner); raises UserError where there is none, or another."""
        name = self._plan.name
        try:
            study = optuna.load_study(study_name=name, storage=self._storage, **options)
        except KeyError:
            raise UserError(
                f"study {name}: has not been begun; start it with python -m pipeline.study run {name}"
            ) from None
        begun = study.user_attrs.get(DEFINITION)
        if begun is not None and begun != self._plan.definition:
            raise UserError(f"study {name}: {_changes(begun, self._plan.definition)}")
        return study

    def trials(self) -> list[FrozenTrial]:
        """The trial that speaks for each unit begun so far, by unit: done before open before given up."""
        best: dict[int, FrozenTrial] = {}
        for trial in self.study().get_trials(deepcopy=False):
            unit = _unit(trial)
            if unit < len(self._plan.units) and (unit not in best or _rank(trial) > _rank(best[unit])):
                best[unit] = trial
        return [best[unit] for unit in sorted(best)]

    def left(self) -> int:
        """How many units are not done."""
        return len(self._plan.units) - sum(_is_done(trial) for trial in self.trials())

    def is_busy(self) -> bool:
        """Whether another worker still has a trial, which may come back."""
        return bool(self._wanted(*OPEN))

    @contextmanager
    def take(self, options: Callable[[int], dict[str, Any]]) -> Iterator[Taken | None]:
        """Yield a waiting trial, now this worker's; None where none waits. An interrupt gives its unit back.

        `options(number)` are those to load the study with for trial `number`: its sampler and pruner.
        """
        with ExitStack() as held:
            taken = self._pop(options, held)
            try:
                yield taken
            except BaseException:
                if taken is not None:
                    self._give_back(taken.study, taken.trial.number)
                raise

    def reclaim(self) -> list[FrozenTrial]:
        """Put the units of killed workers back into the queue; returns their trials."""
        study = self.study()
        before = {trial.number for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))}
        if self._beats:
            fail_stale_trials(study)
        else:
            for number in before:
                with locked(self._lock_of(number), wait=False) as free:
                    if free and study.trials[number].state == TrialState.RUNNING:
                        self._give_back(study, number)
        failed = study.get_trials(deepcopy=False, states=(TrialState.FAIL,))
        return [trial for trial in failed if trial.number in before]

    def _pop(self, options: Callable[[int], dict[str, Any]], held: ExitStack) -> Taken | None:
        study_id = self._storage.get_study_id_from_name(self._plan.name)
        for waiting in self._wanted(TrialState.WAITING):
            trial_id = self._storage.get_trial_id_from_study_id_trial_number(study_id, waiting.number)
            alive = held.enter_context(locked(self._lock_of(waiting.number), wait=False))
            try:
                if not alive or not self._storage.set_trial_state_values(trial_id, TrialState.RUNNING):
                    continue
            except optuna.exceptions.UpdateFinishedTrialError:
                continue
            if self._beats:
                held.enter_context(_heartbeat(self._storage, trial_id))
            study = self.study(**options(waiting.number))
            study.get_trials(deepcopy=False)  # Optuna's cache of a database must have met a trial to write to it
            return Taken(study, Trial(study, trial_id), _unit(waiting))
        return None

    def _wanted(self, *states: TrialState) -> list[FrozenTrial]:
        """The trials in these states, but for those queued when the study was to have more."""
        trials = self.study().get_trials(deepcopy=False, states=states)
        return [trial for trial in trials if _unit(trial) < len(self._plan.units)]

    def _give_back(self, study: optuna.Study, number: int) -> None:
        """End a trial that came to nothing and, unless it has been begun too often, queue its unit again."""
        trial = study.trials[number]
        same = [one for one in study.get_trials(deepcopy=False) if _unit(one) == _unit(trial)]
        given_up = sum(one.state == TrialState.FAIL for one in same) >= RETRIES
        if not given_up and not any(one.state == TrialState.WAITING for one in same):
            fixed = trial.params or trial.system_attrs.get("fixed_params", {})
            study.enqueue_trial(fixed, user_attrs={UNIT: _unit(trial)})
        if given_up:
            study_id = self._storage.get_study_id_from_name(self._plan.name)
            trial_id = self._storage.get_trial_id_from_study_id_trial_number(study_id, number)
            self._storage.set_trial_user_attr(trial_id, REASON, f"its worker ended {RETRIES + 1} times")
        study.tell(number, state=TrialState.FAIL, skip_if_finished=True)

    def _lock_of(self, number: int) -> Path:
        return self._locks / f"trial-{number}.lock"


def _unit(trial: FrozenTrial) -> int:
    return int(trial.user_attrs[UNIT])


def _is_done(trial: FrozenTrial) -> bool:
    return trial.state in (TrialState.COMPLETE, TrialState.PRUNED) or REASON in trial.user_attrs


def _rank(trial: FrozenTrial) -> int:
    return 2 * _is_done(trial) + (trial.state in OPEN)


@contextmanager
def _heartbeat(storage: BaseStorage, trial_id: int) -> Iterator[None]:
    """Tell the database every few seconds that this worker lives."""
    assert isinstance(storage, RDBStorage)
    storage.record_heartbeat(trial_id)
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(HEARTBEAT):
            storage.record_heartbeat(trial_id)

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
