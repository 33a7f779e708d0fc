"""A server of a student, for benchmarks and tests: saved, started on a free port, asked, and stopped."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from models.classifier import Classifier
from models.export import export_onnx
from models.metadata import Metadata
from models.networks import build

JSON = {"Content-Type": "application/json"}
STARTS_WITHIN = 120
"""Seconds."""


def free_port() -> int:
    """A port of this machine that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def running(
    command: Sequence[str], environment: Mapping[str, str], port: int, folder: Path
) -> Iterator[tuple[subprocess.Popen[bytes], Callable[[], str]]]:
    """Run a server in another folder than the repository, which it must not need; yields it and its log.

    Raises RuntimeError with the log where it does not start.
    """
    path = os.pathsep.join([str(Path(sys.executable).parent), environment["PATH"]])
    plain = {name: value for name, value in environment.items() if name != "PYTHONPATH"} | {"PATH": path}
    log, elsewhere = folder / "server.log", folder / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    with log.open("w") as stream:
        process = subprocess.Popen(
            list(command), cwd=elsewhere, env=plain, stdout=stream, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            _wait_until_ready(port, process, log)
            yield process, log.read_text
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
            process.wait(timeout=60)


def _wait_until_ready(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5).close()
            return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError(f"the server did not start:\n{log.read_text()}")


def ask(
    port: int, body: bytes | None, headers: Mapping[str, str] = JSON, path: str = "/invocations", method: str = "POST"
) -> tuple[int, str]:
    """Send one request on a connection of its own; returns the status and the body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body, dict(headers))
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def untrained_network(image_size: int, classes: int = 8) -> tuple[Classifier, Metadata]:
    """Return a ResNet-18 of full width that nobody has trained, in evaluation mode, and what its export says of it."""
    torch.manual_seed(0)
    model = build("resnet18", num_classes=classes)
    model(torch.rand(16, 3, image_size, image_size))  # statistics for BatchNorm
    names = tuple(f"class {number}" for number in range(classes))
    return model.eval(), Metadata("multiclass", names, image_size, 3, "crop")


def untrained_student(path: Path, image_size: int) -> Path:
    """Export the untrained network; returns its path."""
    model, metadata = untrained_network(image_size)
    export_onnx(model, path, metadata)
    return path
