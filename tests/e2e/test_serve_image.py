"""What the image `serve` installs and starts, run without an engine in a clean virtual environment."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import mlflow
import pytest
from PIL import Image

from models import serving
from tests.conftest import REPOSITORY
from tests.dockerfile import only, read_stages
from tests.models.made_student import CLASSES, OF_RED, write_student

__all__ = ["write_student"]

STAGE = read_stages()["serve"]
STARTS_WITHIN = 120
"""Seconds; mlflow takes ten of a busy core to import."""


class Container(NamedTuple):
    """A folder with what the image copies, and an environment with what it installs."""

    app: Path
    environment: dict[str, str]

    @property
    def log(self) -> Path:
        """What the commands print as errors."""
        return self.app.with_name("log.txt")

    def run(self, command: list[str], port: int) -> "subprocess.Popen[bytes]":
        """Start a command of the Dockerfile, with another port than its own."""
        words = [word.replace("5000", str(port)) for word in command]
        program = str(Path(self.environment["VIRTUAL_ENV"]) / "bin" / words[0])
        with self.log.open("ab") as log:
            return subprocess.Popen([program, *words[1:]], cwd=self.app, env=self.environment, stderr=log)


@pytest.fixture
def container(tmp_path) -> Container:
    app, venv = tmp_path / "app", tmp_path / "venv"
    app.mkdir()
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    store = f"sqlite:///{tmp_path}/tracking/mlflow.db"
    (tmp_path / "tracking").mkdir()
    path = f"{venv}/bin:{Path(sys.executable).parent}:/usr/bin:/bin"
    environment = {"VIRTUAL_ENV": str(venv), "PATH": path, "MLFLOW_TRACKING_URI": store, "HOME": str(tmp_path)}
    inherited = {key: value for key, value in os.environ.items() if key.startswith(("UV_", "PIP_", "OMP_", "SSL_"))}
    container = Container(app, inherited | environment)
    for one in STAGE:
        if one.name == "COPY":
            source, target = [word for word in one.words if not word.startswith("--")]
            copy = shutil.copytree if (REPOSITORY / source).is_dir() else shutil.copy
            copy(REPOSITORY / source, app / target)
        elif one.name == "RUN":
            home = os.environ.get("HOME", str(tmp_path))  # a mirror of the registry may be set there
            subprocess.run(one.words, cwd=app, env=container.environment | {"HOME": home}, check=True)
    return container


@pytest.fixture
def champion(container, write_student, tmp_path, monkeypatch) -> None:
    """A registered student of known answers, champion of the data source of params.yaml."""
    store = container.environment["MLFLOW_TRACKING_URI"]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    mlflow.set_tracking_uri(store)
    client = mlflow.MlflowClient(store)
    experiment = client.create_experiment("test", str(tmp_path / "mlruns"))
    with mlflow.start_run(experiment_id=experiment):
        info = mlflow.pyfunc.log_model(name="student", **serving.model_spec(write_student()))
    mlflow.register_model(info.model_uri, "roskd-phantom")
    client.set_registered_model_alias("roskd-phantom", "champion", "1")


@pytest.fixture
def port(container, champion) -> Iterator[int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = container.run(only(STAGE, "CMD").words, port)
    health = only(STAGE, "HEALTHCHECK").text.split(" CMD ")[1]
    try:
        deadline = time.monotonic() + STARTS_WITHIN
        while container.run(json.loads(health), port).wait():
            assert server.poll() is None, container.log.read_text()
            assert time.monotonic() < deadline, "the health check never passed"
            time.sleep(1)
        yield port
        server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=30) == 0
    finally:
        server.kill()


@pytest.mark.slow
def test_the_serve_image_answers_without_torch(container, port, tmp_path):
    Image.new("RGB", (20, 10), "red").save(tmp_path / "red.png")
    image = b64encode((tmp_path / "red.png").read_bytes()).decode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/invocations",
        json.dumps({"instances": [{"image": image}]}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        (prediction,) = json.load(response)["predictions"]
    assert prediction["label"] == "MEL"
    assert [round(prediction["probabilities"][name], 4) for name in CLASSES] == OF_RED
    assert container.run(["python", "-c", "import torch"], 0).wait() == 1
    table = tmp_path / "out.csv"
    predict = ["python", "-m", "pipeline.predict", str(tmp_path / "red.png"), "--out", str(table)]
    assert container.run(predict, 0).wait() == 0
    assert table.read_text().splitlines()[1].split(",")[1] == "MEL"
    assert container.run(["python", "-m", "pipeline.registry", "list"], 0).wait() == 0
