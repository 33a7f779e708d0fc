"""`make serve`: what is checked before the server starts."""

import json
import socket
import sys

import pytest

from pipeline import tracking
from pipeline.common.errors import UserError
from pipeline.serving import MODEL, PROCESSES, server

URI, PINNED = "models:/roskd-phantom@champion", "models:/roskd-phantom/3"


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    """A tracker with one champion, version 3."""
    monkeypatch.setattr(tracking, "model_exists", lambda uri: True)
    monkeypatch.setattr("pipeline.tracking.pinned.pinned", lambda uri: PINNED if uri == URI else uri)


@pytest.fixture
def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_the_default_is_the_champion_of_the_data_source(monkeypatch, free_port, capsys):
    asked, started = [], []
    monkeypatch.setattr(tracking, "model_exists", lambda uri: asked.append(uri) or True)
    monkeypatch.setattr(server, "supervise", lambda command, environment: started.append((command, environment)) or 0)
    server.run(None, free_port)
    assert asked == [URI]
    command, environment = started[0]
    assert command[:5] == [sys.executable, "-m", "uvicorn", "--factory", "pipeline.serving.app:create"]
    assert " ".join(command).count(f"--host 127.0.0.1 --port {free_port}") == 1
    assert environment[MODEL] == PINNED
    assert json.loads(environment["SERVING_MODEL_CONFIG"]) == {
        "providers": ["CUDAExecutionProvider", "CPUExecutionProvider"],
        "require_gpu": False,
        "threads": server.count_cores(),
        "version": "roskd-phantom/3",
    }
    assert environment["MLFLOW_TRACKING_URI"].startswith("sqlite:///")
    assert f"serving {PINNED} at http://127.0.0.1:{free_port}/predict" in capsys.readouterr().out


def test_several_processes_share_the_cores(monkeypatch, make_params):
    monkeypatch.setattr(server, "count_cores", lambda: 8)
    serving = make_params(serving={"workers": 3, "require_gpu": True}).serving
    environment = server.environment("a folder", "sqlite:///x.db", serving)
    config = json.loads(environment["SERVING_MODEL_CONFIG"])
    assert (config["threads"], config["require_gpu"], config["version"]) == (2, True, "")
    assert environment[PROCESSES] == "3"
    assert " ".join(server.command(5000, workers=3)).count("--workers 3") == 1


def test_no_model_yet(monkeypatch, free_port):
    monkeypatch.setattr(tracking, "model_exists", lambda uri: False)
    with pytest.raises(UserError, match=r"no model models:/other@champion in sqlite:.*: run make repro first"):
        server.run("models:/other@champion", free_port)


def test_port_that_is_taken(monkeypatch):
    monkeypatch.setattr(tracking, "model_exists", lambda uri: True)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(UserError, match=rf"127\.0\.0\.1:{port} cannot be used .*PORT=5001"):
            server.run(URI, port)


def test_server_that_fails(monkeypatch, free_port):
    monkeypatch.setattr(tracking, "model_exists", lambda uri: True)
    monkeypatch.setattr(server, "command", lambda *arguments: [sys.executable, "-c", "raise SystemExit(3)"])
    with pytest.raises(UserError, match="the server ended with status 3"):
        server.run(URI, free_port)


@pytest.mark.parametrize("uri", ["http://127.0.0.1:5000/x", "roskd-phantom", "s3://bucket/model"])
def test_what_is_no_model_is_refused_in_plain_words(uri):
    with pytest.raises(UserError, match=rf"MODEL is '{uri}'; name a registered model, such as models:/roskd-phantom/2"):
        server.run(uri, 5000)
