"""What uvicorn runs for `make serve`: MLflow's scoring app of one model, behind the guard.

Nothing here imports `models`: a registered model brings its own copy of that package.
"""

import os

import mlflow
from mlflow.pyfunc import scoring_server

from pipeline.runtime.workers import count_cores
from pipeline.serving import MODEL
from pipeline.serving.guard import Guard
from pipeline.serving.request import Limits


def create() -> Guard:
    """Load the model and return the app; called by uvicorn in each of its processes."""
    model = mlflow.pyfunc.load_model(os.environ[MODEL])
    return Guard(scoring_server.init(model), Limits(at_once=count_cores()))
