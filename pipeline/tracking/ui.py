"""`make ui`: MLflow's own pages over the store that the pipeline logs to."""

import os
import sys

from pipeline.common.errors import masked
from pipeline.runtime.children import HOST, require_free_port, supervise
from pipeline.tracking.connection import connect, database_file, tracking_uri

QUIET = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "PYTHONWARNINGS": "ignore"}
"""No background workers, which only serve language models, and no word about MLflow's own deprecations."""


def ui(port: int) -> int:
    """Serve the tracker's pages on `port` of this machine until interrupted; returns the exit status.

    Raises UserError where the port is taken or the store cannot be opened. A tracking server has its own pages.
    """
    uri = tracking_uri()
    if uri.startswith(("http://", "https://")):
        print(f"the runs are on the tracking server: open {masked(uri)}")
        return 0
    require_free_port(HOST, port)
    connect()
    print(
        f"MLflow starts at http://{HOST}:{port} (Ctrl-C ends it); a pipeline's page links its runs side by side",
        flush=True,
    )
    return supervise(ui_command(uri, port), os.environ | QUIET)


def ui_command(uri: str, port: int) -> list[str]:
    """The command that serves a store that is no server; one worker is enough for one reader."""
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri, "--host", HOST, "--port", str(port)]
    database = database_file(uri)
    root = ["--default-artifact-root", str(database.parent / "mlruns")] if database else []
    return [*command, *root, "--workers", "1", "--uvicorn-opts", "--log-level warning"]
