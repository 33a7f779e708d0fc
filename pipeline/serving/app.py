"""What uvicorn runs for `make serve`: MLflow's scoring app of one model, behind the guard.

Nothing here imports `models`: a registered model brings its own copy of that package.
"""

import os
import sys
from http import HTTPStatus
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.pyfunc import scoring_server

from pipeline.runtime.workers import count_cores
from pipeline.serving import MODEL, PROCESSES
from pipeline.serving.guard import Answerer, Guard
from pipeline.serving.request import Limits, RefusedError

CANNOT_START = 3
"""The exit status that uvicorn takes for an app that would fail again: it starts no other process."""


def create() -> Guard:
    """Load the model and return the app; called by uvicorn in each of its processes.

    A model that refuses to start, such as one that needs a GPU, says why and ends the process.
    """
    try:
        model = scoring_server.load_model_with_mlflow_config(os.environ[MODEL])
    except ValueError as error:  # ModelError, of the model's own copy of `models`
        if type(error).__name__ != "ModelError":
            raise
        print(f"error: {error}", file=sys.stderr, flush=True)
        sys.exit(CANNOT_START)
    at_once = max(1, count_cores() // int(os.environ.get(PROCESSES, "1")))
    return Guard(scoring_server.init(model), Limits(at_once=at_once), _answerer(model))


def _answerer(model: Any) -> Answerer | None:
    """What answers the bytes of one image file; None for a model that an earlier version of this project registered."""
    answer = getattr(model.unwrap_python_model(), "answer", None)
    if answer is None:
        return None

    def of_bytes(content: bytes) -> list[dict[str, Any]]:
        try:
            return answer([content])
        except MlflowException as error:
            if error.get_http_status_code() >= HTTPStatus.INTERNAL_SERVER_ERROR:
                raise
            raise RefusedError(HTTPStatus(error.get_http_status_code()), error.message) from None

    return of_bytes
