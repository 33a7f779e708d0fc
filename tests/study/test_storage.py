"""Where trials are kept: a journal that survives kills and full disks, and is never written into where it is none."""

import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import optuna
import pytest
from optuna.storages.journal import JournalFileBackend
from sqlalchemy.exc import OperationalError

from pipeline.common.errors import UserError
from pipeline.params.file import load
from pipeline.study.storage import VARIABLE, open_storage, storage_errors_told

JOURNAL = Path("artifacts/studies/journal.log")


@pytest.fixture
def open_here(tmp_path, monkeypatch):
    """Opens the storage of params.yaml, a journal below this test's folder."""
    params = load()
    monkeypatch.chdir(tmp_path)
    return lambda: open_storage(params)


def killed_while_writing(folder: Path) -> None:
    os.chdir(folder)
    params = load(Path(__file__).parents[2] / "params.yaml")

    def die(descriptor: int) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    storage = open_storage(params)
    os.fsync = die  # between the write and the release of the lock
    optuna.create_study(storage=storage, study_name="second")


def test_a_writer_that_is_killed_holds_nobody_up(open_here, tmp_path):
    optuna.create_study(storage=open_here(), study_name="first")
    process = multiprocessing.get_context("spawn").Process(target=killed_while_writing, args=(tmp_path,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    begun = time.monotonic()
    optuna.create_study(storage=open_here(), study_name="third")
    assert time.monotonic() - begun < 20  # Optuna's own lock would be waited for half a minute, or for ever
    assert sorted(optuna.get_all_study_names(open_here())) == ["first", "second", "third"]


def test_an_entry_that_was_cut_off_is_dropped_and_the_rest_is_kept(open_here):
    optuna.create_study(storage=open_here(), study_name="first")
    whole = JOURNAL.read_bytes()
    optuna.create_study(storage=open_here(), study_name="second")
    JOURNAL.write_bytes(JOURNAL.read_bytes()[:-20])
    assert optuna.get_all_study_names(open_here()) == ["first"]
    assert JOURNAL.read_bytes() == whole
    optuna.create_study(storage=open_here(), study_name="third")
    assert optuna.get_all_study_names(open_here()) == ["first", "third"]


@pytest.mark.parametrize(
    ("content", "line"),
    [(b"hello world", 1), (b"hello world\n", 1), (b"[1]\n", 1), (b'{"a": 1}\n', 1), (b'{"op_code": 0}\n{"op\n', 2)],
)
def test_a_file_that_is_no_journal_is_told_and_left_alone(open_here, content, line):
    JOURNAL.parent.mkdir(parents=True)
    JOURNAL.write_bytes(content)
    with pytest.raises(UserError, match=rf"journal\.log: is no journal of studies \(see its line {line}\); move it"):
        open_here()
    assert JOURNAL.read_bytes() == content


def test_the_journal_is_one_that_optuna_and_its_dashboard_can_read(open_here):
    optuna.create_study(storage=open_here(), study_name="first")
    entries = list(JournalFileBackend(str(JOURNAL)).read_logs(0))
    assert [json.loads(line) for line in JOURNAL.read_text().splitlines()] == entries
    assert not JOURNAL.with_name("journal.log.lock").exists()  # a dashboard takes this one, and would wait for it


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("postgresql://u:secret@h:abc/x", "neither journal nor the URL of a database"),
        ("postgresql:/u:secret@h", "neither journal nor the URL of a database"),
        ("sheet.xlsx", "study.storage is 'sheet.xlsx': neither journal"),
        ("postgresql://u:secret@127.0.0.1:1/x", "postgresql://u:***@127.0.0.1:1/x: cannot be used"),
    ],
)
def test_a_storage_that_cannot_be_used_is_told_without_its_password(open_here, monkeypatch, place, told):
    monkeypatch.setenv(VARIABLE, place)
    with pytest.raises(UserError) as error:
        open_here()
    assert told in str(error.value)
    assert "secret" not in str(error.value)


def test_a_storage_that_is_lost_in_a_study_is_told():
    told = r"study\.storage was lost: .*the server closed .*the same command goes on"
    with pytest.raises(UserError, match=told), storage_errors_told():
        raise OperationalError("select", None, Exception("the server closed the connection\nmore"))
