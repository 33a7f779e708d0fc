"""The store: opened by several processes at once, and plain words where it cannot be opened."""

import logging
import os
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from pipeline import tracking
from pipeline.common.errors import UserError
from pipeline.tracking import connection
from pipeline.tracking.connection import connect, tracking_uri
from pipeline.tracking.ui import ui_command

REPOSITORY = Path(__file__).resolve().parents[2]


OPEN_TOGETHER = """
import multiprocessing
from pipeline.tracking.connection import connect, import_mlflow

def open_store(start):
    start.wait()
    print(len(connect().search_experiments()), flush=True)

import_mlflow()  # once, before the fork: importing it takes seconds
forks = multiprocessing.get_context("fork")
start = forks.Barrier(3)
processes = [forks.Process(target=open_store, args=(start,)) for _ in range(3)]
for process in processes:
    process.start()
for process in processes:
    process.join()
"""


@pytest.mark.slow
def test_three_processes_open_one_fresh_store_at_once(tmp_path):
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_TRACKING")}
    opened = subprocess.run(
        [sys.executable, "-c", OPEN_TOGETHER],
        cwd=tmp_path,
        env=environment | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert opened.stdout.split() == ["1", "1", "1"]  # each sees the default experiment
    assert opened.stderr == ""  # and nobody the chatter of the migration
    assert (tmp_path / "mlflow.db").is_file()


STATES = {
    "empty": [],
    "first tables": ["CREATE TABLE experiments (experiment_id INTEGER)"],
    "half migrated": [
        "CREATE TABLE experiments (experiment_id INTEGER)",
        "CREATE TABLE alembic_version (version_num VARCHAR(32))",
        "INSERT INTO alembic_version VALUES ('451aebb31d03')",
    ],
}
"""What a kill in the first second of a store has left."""


@pytest.mark.parametrize("state", STATES)
def test_a_store_whose_making_was_interrupted_is_set_aside(tmp_path, monkeypatch, state, capsys):
    path = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(path)) as connection:
        for statement in STATES[state]:
            connection.execute(statement)
        connection.commit()
    path.touch()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{path}")
    assert len(connect().search_experiments()) == 1
    assert "its making was interrupted" in capsys.readouterr().out
    assert path.with_name("mlflow.db.unfinished").exists()
    connect()
    assert capsys.readouterr().out == ""


def test_a_store_has_its_name_only_when_it_is_whole(tmp_path, monkeypatch):
    import mlflow

    path, seen = tmp_path / "mlflow.db", []

    class Watched(mlflow.MlflowClient):
        def search_experiments(self, *arguments, **options):
            seen.append(path.exists())
            return super().search_experiments(*arguments, **options)

    monkeypatch.setattr(mlflow, "MlflowClient", Watched)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{path}")
    connect()
    assert seen == [False, True]


def test_the_default_is_a_file_here_and_the_variable_goes_before(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert tracking_uri() == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracker:5000")
    assert tracking_uri() == "http://tracker:5000"


def test_a_server_that_does_not_answer_is_named_with_the_remedy(monkeypatch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{unused.getsockname()[1]}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(UserError, match=f"tracking server {uri} does not answer.*\n.*correct MLFLOW_TRACKING_URI"):
        connect()


def test_a_file_that_is_no_store_is_named_with_the_remedy(tmp_path, monkeypatch):
    (tmp_path / "mlflow.db").write_text("not a database " * 100, encoding="utf-8")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    with pytest.raises(
        UserError, match=r"tracking store sqlite:///.*mlflow\.db: .*not a database[^\n]*\n.*move it away"
    ):
        connect()


def test_the_page_serves_the_store_in_use(tmp_path):
    command = ui_command(f"sqlite:///{tmp_path}/mlflow.db", 5001)
    assert command[3:] == [
        *("ui", "--backend-store-uri", f"sqlite:///{tmp_path}/mlflow.db", "--host", "127.0.0.1", "--port", "5001"),
        *("--default-artifact-root", f"{tmp_path}/mlruns", "--workers", "1"),
        *("--uvicorn-opts", "--log-level warning"),
    ]


def test_a_port_in_use_is_a_plain_message(finished):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f":{port} cannot be used .*PORT=5001"):
            tracking.ui(port)


def test_a_full_disk_is_named_without_mlflows_own_traceback():
    """SQLite says so in the second line of the error, which MLflow logs with its traceback before it raises it."""
    cause = sqlite3.OperationalError("database or disk is full")
    error = OperationalError("INSERT INTO runs", {}, cause)
    named = r"tracking store sqlite:///x/mlflow\.db: the disk is full\. Make room"
    with pytest.raises(UserError, match=named), connection.plain_errors("sqlite:///x/mlflow.db"):
        raise error
    connection.import_mlflow()
    assert not logging.getLogger("mlflow.store.db.utils").isEnabledFor(logging.ERROR)
