"""A study in the tracker: one run, and a child for each of its trials."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.common.errors import first_line
from pipeline.common.layout import Layout
from pipeline.params.tree import Params
from pipeline.tracking.connection import plain_errors
from pipeline.tracking.live import LiveRun, ending
from pipeline.tracking.runs import KEY, KIND, NAME, NOTE, Child
from pipeline.tracking.session import SOURCE, Point, Session, open_session

logger = logging.getLogger(__name__)


class TrialRun(LiveRun):
    """The run of one trial; a tracker that fails costs a warning, never the trial."""

    def measured(self, values: Mapping[str, float], status: str) -> None:
        """Log what was measured once, after training, and how the trial ended: complete, pruned or failed."""
        if self._session is None:
            return
        try:
            self._session.log(self.run_id, [Point(key, 0, value) for key, value in values.items()])
            self._session.tag(self.run_id, {"roskd.trial": status})
        except Exception as error:  # as in LiveRun: whatever the tracker raises
            self._give_up(error)


class StudyRun:
    """The run of a study; without a session (tracking off) every call does nothing."""

    def __init__(self, session: Session | None, name: str) -> None:
        self._session, self._name = session, name

    @property
    def run_id(self) -> str:
        """MLflow's id of the study's run, "" where tracking is off."""
        return self._session.parent_id if self._session else ""

    def has_trial(self, number: int) -> bool:
        """Whether a trial's run is there and has ended well; also where tracking is off."""
        if self._session is None:
            return True
        with plain_errors(self._session.uri):
            runs = self._session.runs_of(self._child(number, "", {}))
        return any(run.info.status == "FINISHED" for run in runs)

    def drop_trial(self, number: int) -> None:
        """Delete the runs of a trial, such as one that was cut off."""
        if self._session is None:
            return
        with plain_errors(self._session.uri):
            for run in self._session.runs_of(self._child(number, "", {})):
                self._session.client.delete_run(run.info.run_id)

    @contextmanager
    def trial(self, number: int, title: str, params: Mapping[str, Any]) -> Iterator[TrialRun]:
        """Yield the run of a trial; `params` are those it differs in from params.yaml."""
        run = TrialRun(self._session, self._start(number, title, params)) if self._session else TrialRun(None)
        with ending(run):
            yield run

    def lost(self, run_id: str) -> None:
        """End the run of a trial whose worker was killed; one of another machine may be in another tracker."""
        if self._session and run_id:
            try:
                self._session.client.set_terminated(run_id, "KILLED")
            except Exception as error:  # as in LiveRun: whatever the tracker raises
                logger.warning(
                    "the run %s of a trial whose worker was killed stays open: %s", run_id, first_line(error)
                )

    def finish(self, values: Mapping[str, float], files: Sequence[Path], note: str) -> None:
        """Log the study's own figures and files, and end its run. Raises UserError where the tracker cannot."""
        if self._session is None:
            return
        client, run_id = self._session.client, self._session.parent_id
        with plain_errors(self._session.uri):
            self._session.log(run_id, [Point(key, 0, value) for key, value in values.items()])
            for path in files:
                client.log_artifact(run_id, str(path), "figures" if path.suffix == ".png" else None)
            self._session.tag(run_id, {NOTE: note})
            client.set_terminated(run_id, "FINISHED")

    def _start(self, number: int, title: str, params: Mapping[str, Any]) -> str:
        assert self._session is not None
        with plain_errors(self._session.uri):
            return self._session.create(self._child(number, title, params))

    def _child(self, number: int, title: str, params: Mapping[str, Any]) -> Child:
        values = {key: str(value) for key, value in params.items()}
        return Child("trial", f"{self._name}/trial{number}", title, None, values)


def study_run(params: Params, layout: Layout, name: str, key: str) -> StudyRun:
    """Find or make the run of the study `name` whose definition hashes to `key`, beside the pipeline's own runs.

    Raises UserError where the tracker cannot be opened.
    """
    if not params.tracking.enabled:
        return StudyRun(None, name)
    pipeline = open_session(params, layout)
    own = {KEY: key, KIND: "study", NAME: f"study/{name}"}
    with plain_errors(pipeline.uri):
        if pipeline.adopted:  # mlflow run has made the study's run, and will end it
            run_id = pipeline.parent_id
            pipeline.tag(run_id, own)
        else:
            run_id = _find(pipeline, own) or _make(pipeline, own, f"study {name}")
            pipeline.client.update_run(run_id, status="RUNNING")
    return StudyRun(replace(pipeline, parent_id=run_id, adopted=True), name)  # a trial's end is not the study's


def _find(pipeline: Session, tags: Mapping[str, str]) -> str | None:
    query = " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
    found = pipeline.client.search_runs([pipeline.experiment_id], query, max_results=1)
    return found[0].info.run_id if found else None


def _make(pipeline: Session, tags: Mapping[str, str], title: str) -> str:
    every = {**pipeline.state.tags, **SOURCE, **tags}
    run_id = pipeline.client.create_run(pipeline.experiment_id, tags=every, run_name=title).info.run_id
    pipeline.log(run_id, params=pipeline.state.params)
    pipeline.show_data(pipeline.client.get_run(run_id))
    return run_id
