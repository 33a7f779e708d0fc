"""The queue of trials: none is done twice, none is lost, whatever happens to its workers."""

import multiprocessing
import os
import signal
import time
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from pipeline.errors import UserError
from pipeline.study.plan import Plan, Unit
from pipeline.study.queue import REASON, Queue


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
    with pytest.raises(UserError, match="study yours: has not been begun; start it with"):
        Queue(
            Plan("yours", (), (), "loss", {}), JournalStorage(JournalFileBackend(str(tmp_path / "journal.log")))
        ).study()
