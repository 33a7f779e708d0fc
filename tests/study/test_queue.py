"""The queue of trials: none is done twice, none is lost, whatever happens to its workers."""

import multiprocessing
import os
import re
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from pipeline.common.errors import UserError
from pipeline.study import queue as queue_module
from pipeline.study.plan import Plan, Unit
from pipeline.study.queue import REASON, UNIT, Queue


def plan(units: int = 4, **definition: object) -> Plan:
    first = Unit({"tau": 0.5})
    return Plan("mine", (first, *[Unit({})] * (units - 1)), (), "f1_macro", {"space": {"tau": [0, 1]}} | definition)


def queue(folder: Path, made: Plan | None = None) -> Queue:
    storage = JournalStorage(JournalFileBackend(str(folder / "journal.log")))
    return Queue(made or plan(), storage, folder)


def options(number: int) -> dict[str, object]:
    return {"sampler": optuna.samplers.RandomSampler(seed=number)}


def do_one(own: Queue, value: float | None = 0.5) -> int | None:
    """Do one trial; returns its unit."""
    with own.take(options) as taken:
        if taken is None:
            return None
        taken.trial.suggest_float("tau", 0, 1)
        if value is None:
            taken.trial.set_user_attr(REASON, "diverged")
            taken.study.tell(taken.trial, state=TrialState.FAIL)
        else:
            taken.study.tell(taken.trial, value)
        return taken.unit


def test_every_unit_is_done_once_and_the_first_has_its_own_values(tmp_path):
    own = queue(tmp_path)
    own.create()
    assert own.left() == 4
    assert [do_one(own) for _ in range(5)] == [0, 1, 2, 3, None]
    trials = own.trials()
    assert own.left() == 0
    assert trials[0].params == {"tau": 0.5}
    assert len({trial.params["tau"] for trial in trials}) == 4


def test_a_second_run_goes_on_and_more_trials_can_be_asked_for(tmp_path):
    queue(tmp_path).create()
    assert do_one(queue(tmp_path)) == 0
    queue(tmp_path).create()
    assert [do_one(queue(tmp_path)) for _ in range(4)] == [1, 2, 3, None]
    more = queue(tmp_path, plan(6))
    more.create()
    assert more.left() == 2
    assert [do_one(more) for _ in range(3)] == [4, 5, None]


def test_fewer_trials_than_were_queued_leave_the_rest_alone(tmp_path):
    queue(tmp_path, plan(4)).create()
    fewer = queue(tmp_path, plan(2))
    fewer.create()
    assert [do_one(fewer) for _ in range(3)] == [0, 1, None]
    assert not fewer.is_busy()
    assert fewer.left() == 0
    assert [do_one(queue(tmp_path, plan(4))) for _ in range(3)] == [2, 3, None]


def interrupted(own: Queue) -> float:
    """Begin a trial and press Ctrl-C in it; returns what it had drawn."""
    drawn = -1.0
    try:
        with own.take(options) as taken:
            assert taken is not None
            drawn = taken.trial.suggest_float("tau", 0, 1)
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        return drawn


def test_a_trial_that_failed_for_a_reason_is_done_and_one_that_was_interrupted_is_not(tmp_path):
    own = queue(tmp_path)
    own.create()
    assert do_one(own, None) == 0
    drawn = interrupted(own)
    assert own.left() == 3
    assert [do_one(own) for _ in range(4)] == [2, 3, 1, None]
    assert own.trials()[1].params == {"tau": drawn}  # the same draw, begun again
    assert [trial.state.name for trial in own.trials()] == ["FAIL", "COMPLETE", "COMPLETE", "COMPLETE"]


def hang(folder: Path, told: Path) -> None:
    with queue(folder).take(options):
        told.touch()
        time.sleep(600)


def killed_in_a_trial(folder: Path, name: str) -> None:
    process = multiprocessing.get_context("spawn").Process(target=hang, args=(folder, folder / name))
    process.start()
    while not (folder / name).exists():
        time.sleep(0.05)
    assert queue(folder).reclaim() == []  # it lives
    assert queue(folder).is_busy()
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()


def test_the_trial_of_a_killed_worker_is_begun_again_but_not_for_ever(tmp_path):
    own = queue(tmp_path, plan(2))
    own.create()
    killed_in_a_trial(tmp_path, "first")
    assert [trial.number for trial in own.reclaim()] == [0]
    assert own.reclaim() == []
    assert own.left() == 2
    assert do_one(own) == 1
    for attempt in range(3):
        killed_in_a_trial(tmp_path, f"again{attempt}")
        own.reclaim()
    assert own.left() == 0
    assert own.trials()[0].user_attrs[REASON] == "its worker ended 4 times"
    assert not own.is_busy()


def test_an_interrupt_is_no_death_however_often_it_comes(tmp_path):
    own = queue(tmp_path, plan(1))
    own.create()
    assert len({interrupted(own) for _ in range(6)}) == 1
    assert own.left() == 1
    assert own.reclaim() == []
    assert do_one(own) == 0
    assert own.left() == 0


def test_what_failed_for_a_reason_is_begun_anew_on_demand_alone(tmp_path):
    own = queue(tmp_path, plan(2))
    own.create()
    assert [do_one(own, None), do_one(own)] == [0, 1]
    own.create()
    assert own.left() == 0
    own.create(again=True)
    assert own.left() == 1
    assert [do_one(own), do_one(own)] == [0, None]
    assert [trial.state.name for trial in own.trials()] == ["COMPLETE", "COMPLETE"]


def test_a_unit_that_two_machines_have_queued_is_done_once(tmp_path):
    own = queue(tmp_path, plan(3))
    own.create()
    for unit in (0, 1, 2, 1):
        own.study().enqueue_trial({}, user_attrs={UNIT: unit})
    assert [do_one(own) for _ in range(4)] == [0, 1, 2, None]
    assert not own.is_busy()
    assert [trial.number for trial in own.trials()] == [0, 1, 2]


def test_a_second_trial_of_a_unit_waits_for_the_first_and_takes_its_place_if_it_comes_to_nothing(tmp_path):
    own = queue(tmp_path, plan(1))
    own.create()
    own.study().enqueue_trial({}, user_attrs={UNIT: 0})
    with own.take(options) as taken:
        assert taken is not None
        assert do_one(queue(tmp_path, plan(1))) is None
        assert own.is_busy()
        taken.study.tell(taken.trial, state=TrialState.FAIL)
    assert do_one(own) == 0
    assert [trial.number for trial in own.trials()] == [1]


def on_sqlite(folder: Path, units: int = 1) -> tuple[Queue, RDBStorage]:
    storage = RDBStorage(f"sqlite:///{folder}/optuna.db", heartbeat_interval=1, grace_period=2)
    return Queue(plan(units), storage, folder), storage


def test_a_machine_that_has_never_seen_the_study_takes_its_trials(tmp_path):
    own, storage = on_sqlite(tmp_path, 2)
    own.create()
    assert do_one(Queue(plan(2), storage, tmp_path / "another machine")) == 0
    assert do_one(own) == 1


def test_a_trial_in_a_database_has_a_sign_of_life_before_it_runs(tmp_path, monkeypatch):
    own, storage = on_sqlite(tmp_path)
    own.create()
    order = []
    beat, run = storage.record_heartbeat, storage.set_trial_state_values

    def told_beat(trial_id: int) -> None:
        order.append("beat")
        beat(trial_id)

    def told_state(trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        order.append(state.name)
        return run(trial_id, state, values)

    monkeypatch.setattr(storage, "record_heartbeat", told_beat)
    monkeypatch.setattr(storage, "set_trial_state_values", told_state)
    assert do_one(own) == 0
    assert order[:2] == ["beat", "RUNNING"]


def test_a_heartbeat_that_fails_once_is_tried_again(tmp_path, monkeypatch):
    own, storage = on_sqlite(tmp_path)
    own.create()
    monkeypatch.setattr(queue_module, "HEARTBEAT", 0.2)
    beat, calls = storage.record_heartbeat, []

    def lost_at_first(trial_id: int) -> None:
        calls.append(trial_id)
        if len(calls) in (2, 3):
            raise optuna.exceptions.StorageInternalError("the connection was reset")
        beat(trial_id)

    monkeypatch.setattr(storage, "record_heartbeat", lost_at_first)
    with own.take(options) as taken:
        assert taken is not None
        time.sleep(4)
        assert own.reclaim() == []
        taken.study.tell(taken.trial, 0.5)
    assert own.left() == 0


def test_a_worker_that_was_taken_for_dead_does_not_queue_its_unit_again(tmp_path, monkeypatch):
    own, _ = on_sqlite(tmp_path)
    own.create()
    monkeypatch.setattr(queue_module, "HEARTBEAT", 60)  # none but the first

    def suspended_too_long() -> None:
        with own.take(options) as taken:
            assert taken is not None
            time.sleep(3)
            other, _ = on_sqlite(tmp_path)
            assert [trial.number for trial in other.reclaim()] == [0]
            assert do_one(other) == 0
            taken.trial.set_user_attr("seconds", 1.0)

    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        suspended_too_long()
    assert own.left() == 0
    assert [trial.state.name for trial in own.study().trials] == ["FAIL", "COMPLETE"]


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_a_study_of_another_program_is_left_alone(tmp_path, direction):
    storage = JournalStorage(JournalFileBackend(str(tmp_path / "journal.log")))
    theirs = optuna.create_study(storage=storage, study_name="mine", direction=direction)
    theirs.add_trial(optuna.create_trial(value=1.0))
    before = (tmp_path / "journal.log").read_bytes()
    with pytest.raises(UserError, match="study mine: the storage holds a study of that name which another program"):
        queue(tmp_path).create()
    assert (tmp_path / "journal.log").read_bytes() == before


def test_a_study_whose_maker_died_at_once_is_taken_up(tmp_path, monkeypatch):
    monkeypatch.setattr(queue_module, "PLANNED_WITHIN", 0)
    storage = JournalStorage(JournalFileBackend(str(tmp_path / "journal.log")))
    optuna.create_study(storage=storage, study_name="mine", direction="maximize")
    queue(tmp_path).create()
    assert queue(tmp_path).left() == 4
    with pytest.raises(UserError, match="was begun with other parameters"):
        queue(tmp_path, plan(space={"tau": [0, 2]})).create()


def test_a_grid_with_other_values_is_another_study_and_a_search_is_not():
    search, grids = plan(), [Plan("noise", (Unit({}),), ("roskd",), "f1_macro", {"vary": vary}) for vary in ([1], [2])]
    assert search.stored_as == "mine"
    assert len({one.stored_as for one in grids}) == 2
    assert all(re.fullmatch("noise-[0-9a-f]{8}", one.stored_as) for one in grids)


def test_a_study_that_was_begun_with_other_parameters_is_left_alone(tmp_path):
    queue(tmp_path).create()
    before = (tmp_path / "journal.log").read_bytes()
    other = queue(tmp_path, plan(space={"tau": [0, 2]}, metric="loss"))
    with pytest.raises(
        UserError, match=r"study mine: was begun with other parameters: metric was None, is loss; study"
    ):
        other.create()
    assert b'"space"' in before
    assert do_one(queue(tmp_path)) == 0
    with pytest.raises(UserError, match="study yours: has not been begun with these parameters; start it"):
        Queue(
            Plan("yours", (), (), "loss", {}), JournalStorage(JournalFileBackend(str(tmp_path / "journal.log")))
        ).study()
