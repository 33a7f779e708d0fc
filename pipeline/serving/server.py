"""`make serve`: the registered student in a server of its own process."""

import json
import os
import sys
from pathlib import Path

from pipeline.common.errors import UserError
from pipeline.params.file import load
from pipeline.params.serving import ServingParams
from pipeline.runtime.children import HOST, STOPS_WITHIN, require_free_port, supervise
from pipeline.runtime.workers import count_cores
from pipeline.serving import MODEL, PROCESSES

ROOT = Path(__file__).resolve().parents[2]
CONNECTIONS = 256
"""Open connections from which on a server process answers 503."""
CONFIG = "SERVING_MODEL_CONFIG"
"""The environment variable from which MLflow's scoring app takes a model's configuration."""


def run(model_uri: str | None, port: int, host: str = HOST) -> None:
    """Serve a registered model, by default the champion of params.yaml's data source, until interrupted.

    `model_uri`: e.g. `models:/roskd-phantom@champion` or `models:/roskd-phantom/2`. Raises UserError where the port is
    taken, the model does not exist, or the server ends by itself with an error.
    """
    from pipeline import tracking
    from pipeline.tracking.connection import tracking_uri
    from pipeline.tracking.pinned import pinned

    params = load()
    uri = model_uri or f"models:/roskd-{params.data.source}@champion"
    if not uri.startswith(("models:/", "runs:/")) and not Path(uri).is_dir():
        raise UserError(
            f"MODEL is {uri!r}; name a registered model, such as models:/roskd-phantom/2, or a model's folder"
        )
    require_free_port(host, port)
    if not tracking.model_exists(uri):
        raise UserError(f"no model {uri} in {tracking_uri()}: run make repro first, or name another one with MODEL=")
    uri = pinned(uri)  # an alias that moves must not give the processes different models
    print(f"serving {uri} at http://{host}:{port}/predict and /invocations (Ctrl-C ends it)", flush=True)
    workers = params.serving.workers
    status = supervise(command(port, host, workers), environment(uri, tracking_uri(), params.serving))
    if status:
        raise UserError(f"the server ended with status {status}; what it printed above says why")


def command(port: int, host: str = HOST, workers: int = 1) -> list[str]:
    """The command of uvicorn, in this environment."""
    arguments = [
        "--factory",
        "pipeline.serving.app:create",
        "--app-dir",
        str(ROOT),
        "--host",
        host,
        "--port",
        str(port),
        "--workers",
        str(workers),
    ]
    limits = ["--timeout-graceful-shutdown", str(STOPS_WITHIN), "--limit-concurrency", str(CONNECTIONS)]
    return [sys.executable, "-m", "uvicorn", *arguments, *limits, "--no-server-header", "--log-level", "warning"]


def environment(model_uri: str, tracking_uri: str, serving: ServingParams) -> dict[str, str]:
    """The server's environment: this one, with the model, its configuration and the store named."""
    config = {
        "providers": list(serving.providers),
        "require_gpu": serving.require_gpu,
        "threads": max(1, count_cores() // serving.workers),
        "version": model_uri.removeprefix("models:/") if model_uri.startswith("models:/") else "",
    }
    return os.environ | {
        MODEL: model_uri,
        CONFIG: json.dumps(config),
        PROCESSES: str(serving.workers),
        "MALLOC_MMAP_THRESHOLD_": str(2**20),  # the memory of large images goes back to the system (glibc)
        "MLFLOW_TRACKING_URI": tracking_uri,
        "MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT": "86400",  # what has begun is computed to its end in any case
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    }
