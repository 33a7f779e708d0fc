"""The registered model: one version per content, the newest as challenger, the best of the same data as champion."""

import io
import math
from collections.abc import Mapping
from contextlib import redirect_stderr
from dataclasses import dataclass

from models.names import Task
from pipeline.common.errors import UserError
from pipeline.common.files import sha256_files, sha256_json
from pipeline.common.layout import Layout
from pipeline.common.tables import read_csv
from pipeline.distillation.methods import METHODS, served
from pipeline.params.tree import Params
from pipeline.tracking.connection import connect, database_file, plain_errors, tracking_uri
from pipeline.tracking.records import Evaluation, curves_of
from pipeline.tracking.runs import CONTENT, Child, student
from pipeline.tracking.session import Session, open_session

CHAMPION, CHALLENGER = "champion", "challenger"
RANKED_BY: dict[Task, str] = {"multiclass": "val/f1_macro", "multilabel": "val/auroc_macro"}
SAME_DATA = {
    "data_hash": "the data",
    "validation_hash": "the validation set or its labels",
    "classes": "the classes",
    "task": "the task",
}
"""Tags that must agree before two versions are compared, and what each means."""
MEASURED_ONCE = 0
"""The step of the test metrics; epochs count from 1, so these alone are linked to the model."""


@dataclass(frozen=True)
class Registration:
    """A version of the registered model, its aliases, and why it is champion or not; `str` is for the console."""

    model: str
    version: str
    aliases: tuple[str, ...]
    created: bool
    reason: str

    def __str__(self) -> str:
        state = "new" if self.created else "unchanged"
        return f"model {self.model} version {self.version} ({state}): {' and '.join(self.aliases)}; {self.reason}"


def register(params: Params, layout: Layout) -> Registration | None:
    """Register the exported student as `mirror` does, after it; None where tracking is off."""
    return register_in(open_session(params, layout), params, layout) if params.tracking.enabled else None


def register_in(session: Session, params: Params, layout: Layout) -> Registration:
    """Register the exported student once per content, as challenger, and as champion where it deserves it.

    A version is judged once, when it is made: an alias that a person moves afterwards stays where it was put.
    Raises UserError where the served method's run or its validation metric is missing.
    """
    name = f"roskd-{params.data.source}"
    tags = _version_tags(session, params, layout)
    with plain_errors(session.uri):
        versions = session.client.search_model_versions(f"name = '{name}'")
        known = next((v for v in versions if v.tags.get(CONTENT) == tags[CONTENT]), None)
        version = str(known.version) if known else _log_version(session, params, layout, name, tags)
        for key in [key for key, value in tags.items() if known and known.tags.get(key) != value]:
            session.client.set_model_version_tag(name, version, key, tags[key])
        aliases = session.client.get_registered_model(name).aliases
        champion = str(aliases.get(CHAMPION, ""))
        if known and champion:
            promoted, reason = (
                False,
                "compared when it was registered" if champion != version else "the champion already",
            )
        else:
            held = next((dict(v.tags) for v in versions if str(v.version) == champion), None)
            promoted, reason = judge(held, tags)
        for alias in (CHALLENGER, *([CHAMPION] if promoted else [])):
            if str(aliases.get(alias, "")) != version:
                session.client.set_registered_model_alias(name, alias, version)
        held_aliases = (CHALLENGER, CHAMPION) if promoted or champion == version else (CHALLENGER,)
        if not promoted and champion != version:
            reason += _by_hand(name, version, champion)
    return Registration(name, version, held_aliases, known is None, reason)


def judge(champion: Mapping[str, str] | None, challenger: Mapping[str, str]) -> tuple[bool, str]:
    """Whether the challenger becomes champion, and why, from the tags of both versions.

    It does where there is no champion, or where it is better on the same validation set; a tie keeps the champion.
    """
    if champion is None:
        return True, "there was no champion"
    differing = [meaning for tag, meaning in SAME_DATA.items() if champion.get(tag) != challenger.get(tag)]
    if differing:
        return False, f"not compared with the champion: {' and '.join(differing)} differ"
    metric = RANKED_BY["multilabel" if challenger["task"] == "multilabel" else "multiclass"]
    ours, theirs = float(challenger[metric]), float(champion.get(metric, "nan"))
    if math.isnan(theirs):
        return False, f"not compared with the champion: its version has no tag {metric}"
    verdict = f"{metric} {ours:.4f} against the champion's {theirs:.4f}"
    return ours > theirs, verdict


def model_exists(model_uri: str) -> bool:
    """Whether the tracker holds a model under e.g. `models:/roskd-phantom@champion`; a folder may be named, too.

    A sqlite store that does not exist yet is not created. Raises UserError where the tracker cannot be reached.
    """
    database = database_file(tracking_uri())
    if database and not database.is_file() and model_uri.startswith(("models:", "runs:")):
        return False
    connect()
    import mlflow
    from mlflow.exceptions import MlflowException
    from mlflow.models import get_model_info

    mlflow.set_tracking_uri(tracking_uri())
    try:
        get_model_info(model_uri)
    except (MlflowException, OSError):
        return False
    return True


def _version_tags(session: Session, params: Params, layout: Layout) -> dict[str, str]:
    method = served(params.methods)
    child, metric = student(params, layout, params.seeds[0], method), RANKED_BY[params.task]
    value = _validation(child, Evaluation(layout)).get(metric)
    if value is None:
        raise UserError(
            f"{layout.student_metrics}: has no {metric} of method {method}, checkpoint {METHODS[method].checkpoint}, "
            f"seed {params.seeds[0]}, by which versions are compared; run make repro to evaluate again"
        )
    return {
        CONTENT: sha256_files([layout.onnx, layout.onnx_meta]),
        "method": method,
        "seed": str(params.seeds[0]),
        "task": params.task,
        "classes": ", ".join(map(str, session.state.data["classes"])),
        metric: repr(value),
        "data_hash": session.state.data_hash,
        "params_hash": session.state.params_hash,
        "validation_hash": _validation_hash(layout),
    }


def _validation(child: Child, evaluation: Evaluation) -> dict[str, float]:
    """A method's own figures; those of a run's last epoch are the end of its curves."""
    own = evaluation.of(child)
    ends = {point.key: point.value for point in curves_of(child, own)}
    return ends | own


def _validation_hash(layout: Layout) -> str:
    """The hash of which samples validate, with the labels they are given."""
    table = read_csv(layout.splits, ["sample_id", "split"])
    labels = read_csv(layout.labels, ["sample_id", "given"])
    given = dict(zip(labels["sample_id"], labels["given"], strict=True))
    chosen = sorted(table.loc[table["split"] == "val", "sample_id"])
    return sha256_json([[sample, given.get(sample, "")] for sample in chosen])


def _log_version(session: Session, params: Params, layout: Layout, name: str, tags: dict[str, str]) -> str:
    """Log the served model in its method's run with that run's own figures, and register it; returns the version."""
    import mlflow

    from models import serving

    child = student(params, layout, params.seeds[0], served(params.methods))
    run = next(iter(session.runs_of(child)), None)
    if run is None:
        raise UserError(f"the tracker has no run {child.name} to hold the model; run `make repro`, which tracks first")
    run_id = run.info.run_id
    specification = serving.model_spec(layout.onnx, layout.onnx_meta)
    mlflow.set_tracking_uri(session.uri)
    with mlflow.start_run(run_id=run_id):
        info = mlflow.pyfunc.log_model(name="student", step=MEASURED_ONCE, **specification)
    session.client.set_terminated(run_id, "FINISHED", run.info.end_time)
    with redirect_stderr(io.StringIO()):  # it announces the version in its own words; the summary does so in ours
        return str(mlflow.register_model(info.model_uri, name, tags=tags).version)


def _by_hand(name: str, version: str, champion: str) -> str:
    return (
        f'\n  version {champion} stays champion; to promote version {version} by hand: python -c "import mlflow; '
        f"mlflow.MlflowClient().set_registered_model_alias('{name}', '{CHAMPION}', '{version}')\""
    )
