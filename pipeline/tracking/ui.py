"""`make ui`: MLflow's own pages over the store that the pipeline logs to."""

import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress

from pipeline.errors import UserError
from pipeline.tracking.store import connect, database_file, tracking_uri

HOST = "127.0.0.1"
QUIET = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "PYTHONWARNINGS": "ignore"}
"""No background workers, which only serve language models, and no word about MLflow's own deprecations."""


def ui(port: int) -> int:
    """Serve the tracker's pages on `port` of this machine until interrupted; returns the exit status.

    Raises UserError where the port is taken or the store cannot be opened. A tracking server has pages of its own.
    """
    uri = tracking_uri()
    if uri.startswith(("http://", "https://")):
        print(f"the runs are on the tracking server: open {uri}")
        return 0
    _require_free(port)
    connect()
    print(
        f"MLflow starts at http://{HOST}:{port} (Ctrl-C ends it); a pipeline's page links its runs side by side",
        flush=True,
    )
    return _serve(ui_command(uri, port))


def ui_command(uri: str, port: int) -> list[str]:
    """The command that serves a store that is no server; one worker is enough for one reader."""
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri, "--host", HOST, "--port", str(port)]
    database = database_file(uri)
    root = ["--default-artifact-root", str(database.parent / "mlruns")] if database else []
    return [*command, *root, "--workers", "1", "--uvicorn-opts", "--log-level warning"]


def _serve(command: list[str]) -> int:
    """Run the server until it ends, or until Ctrl-C or SIGTERM, which end its workers with it."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    server = subprocess.Popen(command, env=os.environ | QUIET, start_new_session=True)
    try:
        return server.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        server.wait()


def _require_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError) as error:
            raise UserError(f"port {port} cannot be used ({error}); try another one: make ui PORT=5001") from error
