"""The last stage: make the tracker agree with the artefacts, whatever DVC skipped, restored or was killed in."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

from pipeline.common.layout import Layout
from pipeline.distillation.methods import METHODS, ordered
from pipeline.params.tree import Params
from pipeline.tracking.connection import plain_errors
from pipeline.tracking.contest import DecodeAgain
from pipeline.tracking.parent import settle_parent
from pipeline.tracking.records import Evaluation, content, curves_of, values_hash
from pipeline.tracking.registry import Registration, register_in
from pipeline.tracking.runs import CONTENT, EVALUATION, NAME, REUSED, Child, children, student
from pipeline.tracking.session import Point, Session, open_session

if TYPE_CHECKING:
    from mlflow.entities import Run


class Settled(NamedTuple):
    """The one right run of a child, and what was done to have it: made, updated or unchanged."""

    run_id: str
    action: str
    reused: bool


@dataclass(frozen=True)
class Summary:
    """What `mirror` found and did; `str` of it is what the stage prints.

    `live` and `reused` count all children by origin; `made`, `updated` and `unchanged` by what this call did to them.
    """

    enabled: bool = True
    live: int = 0
    reused: int = 0
    made: int = 0
    updated: int = 0
    unchanged: int = 0
    parent: str = ""
    registration: Registration | None = None

    def __str__(self) -> str:
        if not self.enabled:
            return "track: tracking.enabled is false in params.yaml, so nothing was tracked"
        runs = (
            f"track: {self.live + self.reused} runs under “{self.parent}” ({self.live} logged live, {self.reused} from "
            f"files): {self.made} made, {self.updated} updated, {self.unchanged} unchanged; compare them with `make ui`"
        )
        return f"{runs}\n{self.registration}" if self.registration else runs


def mirror(params: Params, layout: Layout, decode_again: DecodeAgain | None = None) -> Summary:
    """Make the tracker agree with the artefacts, and register the student where one was exported.

    A child counts as right if it is finished and its content tag is the hash of its history.csv; every other run of it
    is replaced by one made from the files and tagged `reused`. Test metrics are logged again where they changed: their
    newest value is at the same step. `decode_again` decodes validation images for a champion of another image size;
    without it such a champion is not compared. Raises UserError where an artefact is missing or the tracker cannot be
    used.
    """
    if not params.tracking.enabled:
        return Summary(enabled=False)
    expected = children(params, layout)
    contents = {child.name: content(child) for child in expected}
    evaluation = Evaluation(layout, _tried(params, params.landscape.methods))
    session = open_session(params, layout)
    with plain_errors(session.uri):
        runs: dict[str, list[Run]] = {}
        for run in session.all_runs():
            runs.setdefault(run.data.tags.get(NAME, ""), []).append(run)
        settled = {
            child.name: _settle(session, child, runs.pop(child.name, []), contents[child.name], evaluation)
            for child in expected
        }
        for leftover in [run for group in runs.values() for run in group if run.info.status == "RUNNING"]:
            session.client.set_terminated(leftover.info.run_id, "KILLED")
        shown = [name for name in ordered(params.methods) if METHODS[name].paper]
        compared = [settled[student(params, layout, params.seeds[0], name).name].run_id for name in shown]
        settle_parent(session, layout, expected, evaluation, compared, _tried(params, params.robustness.methods))
    registration = register_in(session, params, layout, decode_again) if layout.onnx.is_file() else None
    actions = [run.action for run in settled.values()]
    reused = sum(run.reused for run in settled.values())
    return Summary(
        live=len(settled) - reused,
        reused=reused,
        made=actions.count("made"),
        updated=actions.count("updated"),
        unchanged=actions.count("unchanged"),
        parent=session.state.title,
        registration=registration,
    )


def _tried(params: Params, names: Sequence[str]) -> list[tuple[int, str]]:
    """The students of some methods that were trained, by seed; folders of others may be left of earlier runs."""
    return list(product(params.seeds, [name for name in names if name in params.methods]))


def _settle(session: Session, child: Child, runs: "list[Run]", wanted: str, evaluation: Evaluation) -> Settled:
    """Leave exactly one right run of the child, a live one if there is one."""
    measured = evaluation.of(child)
    right = [run for run in runs if _is_right(run, wanted, measured)]
    kept = min(right, key=lambda run: REUSED in run.data.tags, default=None)
    if kept is None:
        settled = Settled(_make(session, child, wanted, evaluation), "made", reused=True)
    else:
        current = kept.data.tags.get(EVALUATION) == values_hash(measured)
        if not current:
            _evaluate(session, kept.info.run_id, child, evaluation, curves_of(child, measured))
        session.show_data(kept)
        settled = Settled(kept.info.run_id, "unchanged" if current else "updated", REUSED in kept.data.tags)
    for run in runs:
        if run is not kept:
            session.client.delete_run(run.info.run_id)
    return settled


def _is_right(run: "Run", wanted: str, measured: dict[str, float]) -> bool:
    """Finished, of the same content, and without figures that are no longer measured (MLflow cannot drop one)."""
    outdated = {key for key in run.data.metrics if key.startswith(("test/", "sharpness/", "robust/"))} - set(measured)
    return run.info.status == "FINISHED" and run.data.tags.get(CONTENT) == wanted and not outdated


def _make(session: Session, child: Child, wanted: str, evaluation: Evaluation) -> str:
    points = curves_of(child, evaluation.of(child))
    run_id = session.create(child)
    session.log(run_id, points)
    _evaluate(session, run_id, child, evaluation, points)
    session.tag(run_id, {CONTENT: wanted, REUSED: "true"})
    session.client.set_terminated(run_id, "FINISHED")
    return run_id


def _evaluate(session: Session, run_id: str, child: Child, evaluation: Evaluation, curve: list[Point]) -> None:
    session.log(run_id, evaluation.points(child, curve))
    session.tag(run_id, {EVALUATION: values_hash(evaluation.of(child))})
