"""Runs that are logged while they train: continued after a kill, replaced when trained again."""

import logging
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pipeline.common.errors import first_line
from pipeline.common.files import sha256_file
from pipeline.common.layout import Layout
from pipeline.params.tree import Params
from pipeline.tracking.connection import plain_errors
from pipeline.tracking.records import curves
from pipeline.tracking.runs import CONTENT, Child
from pipeline.tracking.session import Point, Session, open_session

logger = logging.getLogger(__name__)


class LiveRun:
    """One run being logged; without a session (tracking off, or not rank 0) every call does nothing.

    A tracker that fails while the network trains costs a warning, never the training: the last stage, `track`, makes
    the run again from history.csv.
    """

    def __init__(self, session: Session | None, run_id: str = "", known: dict[tuple[str, int], float] | None = None):
        """`known`: what a killed process has logged already, {(key, step): value}."""
        self.run_id = run_id
        self._session = session
        self._logged = dict(known or {})

    def log_epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Log one epoch's `{"val/f1_macro": 0.6, ...}` in one call; non-finite values are left out."""
        if self._session is None:
            return
        points = [Point(key, epoch, float(value)) for key, value in metrics.items() if math.isfinite(value)]
        fresh = [point for point in points if not self._has(point)]
        try:
            self._session.log(self.run_id, fresh)
        except Exception as error:  # whatever a network, a database or MLflow raises: training continues
            self._give_up(error)
        self._logged |= {(point.key, point.step): point.value for point in fresh}

    def finish(self, history: Path) -> None:
        """Declare the run to be that of the finished `history`.

        A run that does not agree with it, point by point (resumed from other code, or cut off from the tracker), stays
        undeclared, and `track` makes it again.
        """
        if self._session is None:
            return
        points = curves(history)
        if len(points) == len(self._logged) and all(self._has(point) for point in points):
            try:
                self._session.tag(self.run_id, {CONTENT: sha256_file(history)})
            except Exception as error:
                self._give_up(error)

    def end(self, status: str) -> None:
        """End the run as FINISHED, FAILED or KILLED; its parent shows a failure, too."""
        if self._session is None:
            return
        try:
            self._session.client.set_terminated(self.run_id, status)
            if status != "FINISHED" and not self._session.adopted:
                self._session.client.set_terminated(self._session.parent_id, status)
        except Exception as error:
            self._give_up(error)

    def _has(self, point: Point) -> bool:
        """Whether the point is logged, within the digits that a CSV may keep."""
        logged = self._logged.get((point.key, point.step))
        return logged is not None and math.isclose(logged, point.value, rel_tol=1e-4, abs_tol=1e-6)

    def _give_up(self, error: Exception) -> None:
        logger.warning(
            "tracking stopped: %s\ntraining continues; the stage track will make this run from its history file",
            first_line(error),
        )
        self._session = None


@contextmanager
def live_run(params: Params, layout: Layout, child: Child, *, active: bool = True) -> Iterator[LiveRun]:
    """Yield the child's run; a run cut off under the same parent is continued, a finished one is replaced.

    `active` False, which every rank but 0 passes, and `tracking.enabled` false give a run that does nothing, and mlflow
    is not imported. Raises UserError where the tracker cannot be opened.
    """
    run = _begin(params, layout, child) if active and params.tracking.enabled else LiveRun(None)
    with ending(run):
        yield run


@contextmanager
def ending(run: LiveRun) -> Iterator[None]:
    """End the run as the block ends: finished, failed, or killed by an interrupt."""
    try:
        yield
    except Exception:
        run.end("FAILED")
        raise
    except BaseException:
        run.end("KILLED")
        raise
    run.end("FINISHED")


def _begin(params: Params, layout: Layout, child: Child) -> LiveRun:
    session = open_session(params, layout)
    with plain_errors(session.uri):
        if not session.adopted:
            session.client.update_run(session.parent_id, status="RUNNING")
        before = session.runs_of(child)
        cut_off = next((run for run in before if run.info.status != "FINISHED"), None)
        for run in before:
            if run is not cut_off:
                session.client.delete_run(run.info.run_id)
        if cut_off is None:
            return LiveRun(session, session.create(child))
        run_id = cut_off.info.run_id
        session.client.update_run(run_id, status="RUNNING")
        session.tag(run_id, session.state.tags)
        histories = (session.client.get_metric_history(run_id, key) for key in cut_off.data.metrics)
        return LiveRun(session, run_id, {(m.key, m.step): m.value for history in histories for m in history})
