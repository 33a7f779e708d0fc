"""`make serve`: the registered student behind MLflow's own server."""

import os
import sys
from pathlib import Path

from pipeline.common.errors import UserError
from pipeline.params.file import load
from pipeline.runtime.children import HOST, require_free_port, supervise


def run(model_uri: str | None, port: int, host: str = HOST) -> None:
    """Serve a registered model, by default the champion of params.yaml's data source, until interrupted.

    `model_uri`: e.g. `models:/roskd-phantom@champion` or `models:/roskd-phantom/2`. Raises UserError where the port is
    taken, the model does not exist, or the server ends by itself with an error.
    """
    from pipeline import tracking
    from pipeline.tracking.connection import tracking_uri

    uri = model_uri or f"models:/roskd-{load().data.source}@champion"
    if not uri.startswith(("models:/", "runs:/")) and not Path(uri).is_dir():
        raise UserError(
            f"MODEL is {uri!r}; name a registered model, such as models:/roskd-phantom/2, or a model's folder"
        )
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
