"""`make serve`: what is checked before the server starts, and how it is stopped."""

import fcntl
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path

import pytest

from pipeline import tracking
from pipeline.common.errors import UserError
from pipeline.runtime import serve

URI = "models:/roskd-phantom@champion"


@pytest.fixture
def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_the_default_is_the_champion_of_the_data_source(monkeypatch, free_port, capsys):
    asked, started = [], []
    monkeypatch.setattr(tracking, "model_exists", lambda uri: asked.append(uri) or True)
    monkeypatch.setattr(serve, "supervise", lambda command, environment: started.append((command, environment)) or 0)
    serve.run(None, free_port)
    assert asked == [URI]
    command, environment = started[0]
    assert command[1:] == (
        f"-m mlflow models serve --model-uri {URI} --host 127.0.0.1 --port {free_port} --env-manager local".split()
    )
    assert environment["PATH"].split(os.pathsep)[0] == str(Path(sys.executable).parent)
    assert environment["MLFLOW_TRACKING_URI"].startswith("sqlite:///")
    assert f"serving {URI} at http://127.0.0.1:{free_port}/invocations" in capsys.readouterr().out


def test_no_model_yet(monkeypatch, free_port):
    monkeypatch.setattr(tracking, "model_exists", lambda uri: False)
    with pytest.raises(UserError, match=r"no model models:/other@champion in sqlite:.*: run make repro first"):
        serve.run("models:/other@champion", free_port)


def test_port_that_is_taken(monkeypatch):
    monkeypatch.setattr(tracking, "model_exists", lambda uri: True)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(UserError, match=rf"127\.0\.0\.1:{port} cannot be used .*PORT=5001"):
            serve.run(URI, port)


def test_server_that_fails(monkeypatch, free_port):
    monkeypatch.setattr(tracking, "model_exists", lambda uri: True)
    monkeypatch.setattr(serve, "command", lambda *arguments: [sys.executable, "-c", "raise SystemExit(3)"])
    with pytest.raises(UserError, match="the server ended with status 3"):
        serve.run(URI, free_port)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_server_and_its_children(number, tmp_path):
    """The server has a child of its own, as MLflow's has, which holds a lock while it lives."""
    lock = tmp_path / "lock"
    child = (
        "import fcntl, time\n"
        f"stream = open({str(lock)!r}, 'w')\n"
        "fcntl.flock(stream, fcntl.LOCK_EX)\n"
        "print('held', file=stream, flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-S', '-c', {child!r}])"

    def interrupt():
        while not (lock.exists() and lock.read_text()):
            time.sleep(0.05)
        os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    thread = threading.Thread(target=interrupt)
    thread.start()
    assert serve.supervise([sys.executable, "-S", "-c", parent], dict(os.environ)) == 0
    thread.join()
    assert signal.getsignal(number) is before
    with lock.open() as stream:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize("uri", ["http://127.0.0.1:5000/x", "roskd-phantom", "s3://bucket/model"])
def test_what_is_no_model_is_refused_in_plain_words(uri):
    with pytest.raises(UserError, match=rf"MODEL is '{uri}'; name a registered model, such as models:/roskd-phantom/2"):
        serve.run(uri, 5000)
