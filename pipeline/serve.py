"""`make serve`: the registered student behind MLflow's own server."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from pipeline.errors import UserError
from pipeline.params import load

HOST = "127.0.0.1"
STOPS_WITHIN = 10
"""Seconds that requests under way have to end when the server is stopped."""


def run(model_uri: str | None, port: int, host: str = HOST) -> None:
    """Serve a registered model, by default the champion of params.yaml's data source, until interrupted.

    `model_uri`: e.g. `models:/roskd-phantom@champion` or `models:/roskd-phantom/2`. Raises UserError where the port is
    taken, the model does not exist, or the server ends by itself with an error.
    """
    from pipeline import tracking
    from pipeline.tracking.store import tracking_uri

    uri = model_uri or f"models:/roskd-{load().data.source}@champion"
    require_free_port(host, port)
    if not tracking.model_exists(uri):
        raise UserError(f"no model {uri} in {tracking_uri()}: run make repro first, or name another one with MODEL=")
    print(f"serving {uri} at http://{host}:{port}/invocations (Ctrl-C ends it)", flush=True)
    status = supervise(command(uri, port, host), environment(tracking_uri()))
    if status:
        raise UserError(f"the server ended with status {status}; what it printed above says why")


def command(model_uri: str, port: int, host: str = HOST) -> list[str]:
    """The command of MLflow's server in this environment, without building another one."""
    arguments = ["--model-uri", model_uri, "--host", host, "--port", str(port), "--env-manager", "local"]
    return [sys.executable, "-m", "mlflow", "models", "serve", *arguments]


def environment(tracking_uri: str) -> dict[str, str]:
    """The server's environment: this one, with the store named and the folder of uvicorn on PATH."""
    folder = str(Path(sys.executable).parent)
    return os.environ | {
        "PATH": os.pathsep.join([folder, os.environ.get("PATH", "")]),
        "MLFLOW_TRACKING_URI": tracking_uri,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    }


def require_free_port(host: str, port: int) -> None:
    """Raise UserError if nothing can listen on `host`:`port`."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, OverflowError) as error:
            raise UserError(f"{host}:{port} cannot be used ({error}); try another one: make serve PORT=5001") from error


def supervise(command: list[str], environment: dict[str, str]) -> int:
    """Run a server and its children until they end; return its exit status, 0 where we were told to stop it.

    Ctrl-C and SIGTERM are passed on as SIGTERM, on which the server answers what it has begun.
    """
    # a session of its own, so that Ctrl-C reaches the server once, through us, and all of its processes
    server = subprocess.Popen(command, env=environment, start_new_session=True)
    stopped = False

    def stop(*_: object) -> None:
        nonlocal stopped
        stopped = True
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)

    previous = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        status = server.wait()
        _wait_for_group(server.pid)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    return 0 if stopped else status


def _wait_for_group(group: int) -> None:
    """Wait until the server's own children are gone, too, so that the port is free again."""
    deadline = time.monotonic() + STOPS_WITHIN
    while time.monotonic() < deadline:
        with suppress(ChildProcessError):
            os.waitpid(-group, os.WNOHANG)  # as the first process of a container they are ours to collect
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
