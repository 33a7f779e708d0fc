"""An open tracker at the parent run of the present state: where every child is looked up, made and ended."""

import math
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from pipeline.common.errors import UserError
from pipeline.common.layout import Layout
from pipeline.params.tree import Params
from pipeline.tracking.connection import connect, database_file, exclusive, plain_errors, tracking_uri
from pipeline.tracking.dataset import dataset_input
from pipeline.tracking.runs import KEY, KIND, NAME, Child, State, read_state

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

METRICS_PER_CALL = 1000  # the limits of MLflow's log-batch endpoint
PARAMS_PER_CALL = 100
RUNS_PER_SEARCH = 50_000
PARENT_TAG = "mlflow.parentRunId"
MODEL_TRAINING = {"mlflow.experimentKind": "custom_model_development"}  # which pages MLflow shows; not those of GenAI
SOURCE = {"mlflow.source.name": "pipeline.stages", "mlflow.source.type": "LOCAL"}


class Point(NamedTuple):
    """One value of one metric; `step` is the epoch, or 0 for what is measured once, after training."""

    key: str
    step: int
    value: float


@dataclass(frozen=True)
class Session:
    """The tracker at one parent run; `adopted` says that `mlflow run` made the parent and will end it."""

    client: "MlflowClient"
    uri: str
    state: State
    experiment_id: str
    parent_id: str
    adopted: bool

    def runs_of(self, child: Child) -> "list[Run]":
        """The active runs of one child under this parent, newest first."""
        return self._search(f" and tags.`{NAME}` = '{child.name}'")

    def all_runs(self) -> "list[Run]":
        """Every active run under this parent, newest first."""
        return self._search("")

    def create(self, child: Child) -> str:
        """Start a run of a child with its parameters, tags and data set; returns its id."""
        every = {**self.state.tags, **SOURCE, **child.tags, PARENT_TAG: self.parent_id}
        run = self.client.create_run(self.experiment_id, tags=every, run_name=child.title)
        self.log(run.info.run_id, params=self.state.params | child.params)
        self.show_data(run)
        return run.info.run_id

    def log(self, run_id: str, points: Iterable[Point] = (), params: Mapping[str, Any] | None = None) -> None:
        """Log finite points and parameters in as few calls as MLflow allows."""
        from mlflow.entities import Metric, Param

        now = int(time.time() * 1000)
        metrics = [Metric(p.key, float(p.value), now, p.step) for p in points if math.isfinite(p.value)]
        pairs = [Param(key, _text(value)) for key, value in (params or {}).items()]
        for start in range(0, len(metrics), METRICS_PER_CALL):
            self.client.log_batch(run_id, metrics=metrics[start : start + METRICS_PER_CALL])
        for start in range(0, len(pairs), PARAMS_PER_CALL):
            self.client.log_batch(run_id, params=pairs[start : start + PARAMS_PER_CALL])

    def show_data(self, run: "Run") -> None:
        """Make the data set an input of a run that has none yet."""
        if not run.inputs or not run.inputs.dataset_inputs:
            self.client.log_inputs(run.info.run_id, [dataset_input(self.state)])

    def tag(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set several tags in one call."""
        from mlflow.entities import RunTag

        self.client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])

    def _search(self, more: str) -> "list[Run]":
        query = f"tags.`{PARENT_TAG}` = '{self.parent_id}'{more}"
        return list(self.client.search_runs([self.experiment_id], query, max_results=RUNS_PER_SEARCH))


def open_session(params: Params, layout: Layout) -> Session:
    """Open the tracker and find or make the parent run of the present state. Raises UserError."""
    state = read_state(params, layout)
    client, uri = connect(), tracking_uri()
    adopted = os.environ.get("MLFLOW_RUN_ID")
    with plain_errors(uri), exclusive(uri):
        if adopted:
            return _adopt(client, uri, state, adopted)
        experiment_id = _experiment(client, uri, params.tracking.experiment or f"roskd-{params.data.source}")
        query = f"tags.`{KEY}` = '{state.key}' and tags.`{KIND}` = 'pipeline'"
        found = client.search_runs([experiment_id], query, max_results=1)
        if found:
            return Session(client, uri, state, experiment_id, found[0].info.run_id, adopted=False)
        tags = {**state.tags, **SOURCE, KIND: "pipeline"}
        parent = client.create_run(experiment_id, tags=tags, run_name=state.title)
        session = Session(client, uri, state, experiment_id, parent.info.run_id, adopted=False)
        session.log(parent.info.run_id, params=state.params)
        session.show_data(parent)
        return session


def _adopt(client: "MlflowClient", uri: str, state: State, run_id: str) -> Session:
    """Take the run that `mlflow run` exported as the parent; children go to its experiment."""
    parent = client.get_run(run_id)
    session = Session(client, uri, state, parent.info.experiment_id, run_id, adopted=True)
    if parent.data.tags.get(KEY) != state.key:
        known = parent.data.params
        session.log(run_id, params={key: value for key, value in state.params.items() if key not in known})
        session.tag(run_id, {KEY: state.key, KIND: "pipeline", **state.tags})
    return session


def _experiment(client: "MlflowClient", uri: str, name: str) -> str:
    found = client.get_experiment_by_name(name)
    if found is None:
        # beside the database, not in the current folder: the two are moved, mounted and deleted together
        database = database_file(uri)
        location = str(database.resolve().parent / "mlruns" / name) if database else None
        return client.create_experiment(name, location, tags=MODEL_TRAINING)
    if found.lifecycle_stage == "deleted":
        raise UserError(
            f"experiment {name} was deleted in the tracker; bring it back with "
            f"`mlflow experiments restore --experiment-id {found.experiment_id}`, or set tracking.experiment in "
            "params.yaml to another name"
        )
    return found.experiment_id


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
