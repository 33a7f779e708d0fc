"""The trials of a search: none is done twice, none is lost, whatever happens to its workers; where they are kept."""

import multiprocessing
import os
import signal
import sqlite3
import time
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState
from sqlalchemy.exc import OperationalError

from pipeline.common.errors import UserError
from pipeline.common.layout import Layout
from pipeline.params.file import load
from pipeline.study import trials as trials_module
from pipeline.study.plan import Plan, Unit
from pipeline.study.trials import REASON, VARIABLE, WORKER, Trials, open_storage, plain_storage_errors


def plan(units: int = 4, **definition: object) -> Plan:
    first = Unit({"tau": 0.5})
    return Plan("mine", (first, *[Unit({})] * (units - 1)), (), "f1_macro", {"space": {"tau": [0, 1]}} | definition)


def trials(folder: Path, made: Plan | None = None) -> Trials:
    return Trials(made or plan(), open_storage(load(Path(__file__).parents[2] / "params.yaml"), Layout(folder)))


def do_one(own: Trials, value: float | None = 0.5) -> int:
    """Do one trial and return its number; without a value it fails for a reason."""
    study = own.study(sampler=optuna.samplers.RandomSampler())
    trial = study.ask()
    trial.suggest_float("tau", 0, 1)
    trial.set_user_attr(WORKER, "this one")
    if value is None:
        trial.set_user_attr(REASON, "diverged")
        study.tell(trial, state=TrialState.FAIL)
    else:
        study.tell(trial, value)
    return trial.number


def test_the_first_trial_has_the_files_own_values_and_more_can_be_asked_for(tmp_path):
    trials(tmp_path).create()
    assert [do_one(trials(tmp_path)) for _ in range(4)] == [0, 1, 2, 3]
    own = trials(tmp_path)
    own.create()
    assert own.left() == 0
    assert own.done()[0].params == {"tau": 0.5}
    assert len({trial.params["tau"] for trial in own.done()}) == 4
    more, fewer = trials(tmp_path, plan(6)), trials(tmp_path, plan(2))
    more.create()
    assert more.left() == 2
    assert (fewer.left(), len(fewer.done())) == (0, 2)


def test_a_failure_with_a_reason_counts_until_it_is_repeated(tmp_path):
    own = trials(tmp_path, plan(2))
    own.create()
    assert [do_one(own, None), do_one(own)] == [0, 1]
    assert own.left() == 0
    own.repeat_failed()
    assert own.left() == 1
    assert do_one(own) == 2
    assert own.left() == 0
    assert [(trial.number, trial.params["tau"]) for trial in own.done()][-1] == (2, 0.5)


def test_one_trial_more_than_were_asked_for_is_surplus(tmp_path):
    own = trials(tmp_path, plan(2))
    own.create()
    study = own.study()
    begun = [study.ask() for _ in range(3)]
    assert [own.is_surplus(trial.number) for trial in begun] == [False, False, True]
    study.tell(begun[0], state=TrialState.FAIL)  # came to nothing: the third is one of two again
    assert not own.is_surplus(2)


def test_a_trial_that_is_given_back_is_begun_again_with_the_same_values_however_often(tmp_path):
    own = trials(tmp_path, plan(1))
    own.create()
    drawn = set()
    for _ in range(6):
        study = own.study()
        trial = study.ask()
        drawn.add(trial.suggest_float("tau", 0, 1))
        study.tell(trial, state=TrialState.FAIL)
        own.give_back(trial.number)
        assert own.left() == 1
    assert drawn == {0.5}
    do_one(own)
    own.give_back(own.done()[0].number)  # complete: nothing to give back
    assert own.left() == 0
    assert own.study().get_trials(states=(TrialState.WAITING,)) == []


def hang(folder: Path, begun: Path, beats: bool) -> None:
    def objective(trial: optuna.Trial) -> float:
        trial.suggest_float("tau", 0, 1)
        trial.set_user_attr(WORKER, "killed")
        begun.touch()
        time.sleep(600)
        return 0.0

    if beats:
        trials(folder).study().optimize(objective, n_trials=1)
    else:
        trials(folder).study().ask()  # killed before its first heartbeat
        begun.touch()
        time.sleep(600)


@pytest.mark.parametrize("beats", [True, False])
def test_the_trial_of_a_killed_worker_is_begun_again(tmp_path, monkeypatch, beats):
    monkeypatch.setattr(trials_module, "GRACE", 2)
    own = trials(tmp_path, plan(2))
    own.create()
    begun = tmp_path / "begun"
    process = multiprocessing.get_context("fork").Process(target=hang, args=(tmp_path, begun, beats))
    process.start()
    while not begun.exists():
        time.sleep(0.05)
    assert own.reclaim() == []
    assert len(own.counted()) == 1
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    until = time.monotonic() + 30
    while not (lost := own.reclaim()):
        assert time.monotonic() < until
        time.sleep(0.2)
    assert [trial.number for trial in lost] == [0]
    assert own.counted() == []
    do_one(own)
    assert own.done()[0].params == {"tau": 0.5} if beats else own.left() == 1


def test_a_study_of_another_program_is_left_alone(tmp_path):
    storage = trials(tmp_path)._storage
    theirs = optuna.create_study(storage=storage, study_name="mine", direction="maximize")
    theirs.add_trial(optuna.create_trial(value=1.0))
    with pytest.raises(UserError, match="study mine: the storage holds a study of that name which another program"):
        trials(tmp_path).create()
    assert len(theirs.trials) == 1
    assert theirs.user_attrs == {}


def test_a_study_whose_maker_died_at_once_is_taken_up(tmp_path):
    optuna.create_study(storage=trials(tmp_path)._storage, study_name="mine", direction="maximize")
    trials(tmp_path).create()
    assert trials(tmp_path).left() == 4
    assert [trial.state for trial in trials(tmp_path).study().trials] == [TrialState.WAITING]
    with pytest.raises(UserError, match="was begun with other parameters"):
        trials(tmp_path, plan(space={"tau": [0, 2]})).create()


def test_a_study_that_was_begun_with_other_parameters_is_left_alone(tmp_path):
    trials(tmp_path).create()
    other = trials(tmp_path, plan(space={"tau": [0, 2]}, metric="loss"))
    with pytest.raises(
        UserError, match=r"study mine: was begun with other parameters: metric was None, is loss; study"
    ):
        other.create()
    assert do_one(trials(tmp_path)) == 0
    with pytest.raises(UserError, match="study yours: has not been begun; start it"):
        trials(tmp_path, Plan("yours", (), (), "loss", {})).study()


def killed_while_writing(folder: Path) -> None:
    connection = sqlite3.connect(folder / "studies/studies.db")
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("DELETE FROM studies")
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_writer_that_is_killed_holds_nobody_up_and_changes_nothing(tmp_path):
    trials(tmp_path).create()
    process = multiprocessing.get_context("fork").Process(target=killed_while_writing, args=(tmp_path,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    begun = time.monotonic()
    do_one(trials(tmp_path))
    assert time.monotonic() - begun < 20
    assert len(trials(tmp_path).done()) == 1


def test_the_file_is_written_ahead_so_that_readers_never_wait(tmp_path):
    trials(tmp_path).create()
    with sqlite3.connect(tmp_path / "studies/studies.db") as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.parametrize("content", [b"hello world, this is no database " * 50, b'{"op_code": 0}\n' * 99])
def test_a_file_that_is_no_database_is_left_alone(tmp_path, content):
    path = tmp_path / "studies/studies.db"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"studies\.db: is no database of studies .*; move it away"):
        trials(tmp_path)
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("postgresql://u:secret@h:abc/x", "neither sqlite nor the URL of a database"),
        ("postgresql:/u:secret@h", "neither sqlite nor the URL of a database"),
        ("sheet.xlsx", "study.storage is 'sheet.xlsx': neither sqlite"),
        ("postgresql://u:secret@127.0.0.1:1/x", "postgresql://u:***@127.0.0.1:1/x: cannot be used"),
    ],
)
def test_a_storage_that_cannot_be_used_is_an_error_without_its_password(tmp_path, monkeypatch, place, message):
    monkeypatch.setenv(VARIABLE, place)
    with pytest.raises(UserError) as error:
        trials(tmp_path)
    assert message in str(error.value)
    assert "secret" not in str(error.value)


def test_a_storage_that_is_lost_in_a_study_is_an_error_in_plain_words():
    message = r"study\.storage was lost: .*the server closed .*the same command continues"
    with pytest.raises(UserError, match=message), plain_storage_errors():
        raise OperationalError("select", None, Exception("the server closed the connection\nmore"))
