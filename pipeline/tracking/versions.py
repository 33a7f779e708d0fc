"""What a version of the registered model carries: the model, its answers on validation, and tags to trace it by."""

import io
import json
import tempfile
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import BadZipFile

import numpy as np

from pipeline.common.errors import UserError
from pipeline.common.files import sha256_file, sha256_json
from pipeline.common.layout import Layout
from pipeline.common.tables import read_csv
from pipeline.distillation.methods import METHODS, served, teachers_of
from pipeline.evaluation.metrics import HEADLINES
from pipeline.params.tree import Params
from pipeline.tracking.promotion import Answered, intervals
from pipeline.tracking.runs import CONTENT, student
from pipeline.tracking.session import Session

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

SAME_DATA = {
    "data_hash": "the data",
    "validation_hash": "the validation set or its labels",
    "classes": "the classes",
    "label_columns": "the label columns",
    "task": "the task",
}
"""Tags that must agree for the stored answers of two versions to be compared, and what each means."""
MEASURED = "roskd.measured"
"""The tag with the hash of the predictions that a version's figures are from."""
TEACHERS = "teachers"
ORIGIN = (TEACHERS, "mlflow.source.git.commit", "roskd.git_dirty")
"""Tags of what made a version; a later run of other code, or without the teachers' files, leaves them."""
VALIDATION = "validation"
"""The file of a version with its logits on validation, in the order of samples.csv; without sample ids."""
MEASURED_ONCE = 0
"""The step of the test metrics; epochs count from 1, so these alone are linked to the model."""


@dataclass(frozen=True)
class Challenger:
    """The exported student with what the evaluation says of it; `ids` are those of the validation samples, (V,)."""

    method: str
    seed: int
    resize: str
    content: str
    predictions: Path
    ids: np.ndarray
    val: Answered
    test: Answered


def read_challenger(params: Params, layout: Layout) -> Challenger:
    """Read the served method's predictions. Raises UserError where they are missing or cannot be read."""
    method, seed = served(params.methods), params.seeds[0]
    path = layout.predictions(seed, method, METHODS[method].checkpoint)
    table = read_csv(layout.samples, ["sample_id", "group_id"])
    group_of = dict(zip(table["sample_id"], table["group_id"], strict=True))
    try:
        with np.load(path) as stored:
            ids = {split: stored[f"{split}_sample_ids"].astype(str) for split in ("val", "test")}
            tuned_on = stored["val_logits"], stored["val_targets"]
            val, test = (
                Answered(
                    params.task,
                    logits=stored[f"{split}_logits"],
                    targets=stored[f"{split}_targets"],
                    groups=np.array([group_of[name] for name in found]),
                    tuned_on=tuned_on,
                )
                for split, found in ids.items()
            )
    except (OSError, KeyError, ValueError, BadZipFile) as error:
        raise UserError(f"{path}: cannot be read ({error}); run make repro, which evaluates {method} again") from error
    content = sha256_file(layout.onnx)
    return Challenger(method, seed, params.data.resize, content, path, ids["val"], val, test)


def tags(session: Session, params: Params, layout: Layout, challenger: Challenger) -> dict[str, str]:
    """Return what a version is found and traced by: hashes of data, parameters and teachers, git commit, classes."""
    git = {key: value for key, value in session.state.tags.items() if "git" in key}
    return {
        CONTENT: challenger.content,
        "method": challenger.method,
        "seed": str(challenger.seed),
        "task": params.task,
        "classes": ", ".join(map(str, session.state.data["classes"])),
        "label_columns": _label_columns(params),
        "data_hash": session.state.data_hash,
        "params_hash": session.state.params_hash,
        "validation_hash": _validation_hash(layout, challenger),
        TEACHERS: json.dumps(_teachers(params, layout, challenger)),
        **git,
    }


def measured(challenger: Challenger, seed: int) -> dict[str, str]:
    """Return the figures on validation and test with their 95 % intervals, as tags; seconds of work."""
    found: dict[str, str] = {}
    for split, answered in (("val", challenger.val), ("test", challenger.test)):
        for metric, interval in intervals(answered, HEADLINES, seed).items():
            found[f"{split}/{metric}"] = repr(interval.value)
            found[f"{split}/{metric}.interval"] = f"{interval.low:.4f} to {interval.high:.4f}"
    return found | {MEASURED: sha256_file(challenger.predictions)}


def log_version(
    session: Session, params: Params, layout: Layout, name: str, challenger: Challenger, carried: dict[str, str]
) -> str:
    """Log the served model in its method's run with that run's own figures, and register it; returns the version."""
    import mlflow

    from models import serving

    child = student(params, layout, challenger.seed, challenger.method)
    run = next(iter(session.runs_of(child)), None)
    if run is None:
        raise UserError(f"the tracker has no run {child.name} to hold the model; run `make repro`, which tracks first")
    run_id = run.info.run_id
    beside = [path for path in (layout.onnx_meta, layout.onnx_half, layout.triton) if path.is_file()]
    specification = serving.model_spec(layout.onnx, *beside)
    mlflow.set_tracking_uri(session.uri)
    with tempfile.TemporaryDirectory() as folder:
        answers = Path(folder) / f"{VALIDATION}.npy"
        np.save(answers, challenger.val.logits)
        specification["artifacts"] = {**specification["artifacts"], VALIDATION: str(answers)}
        with mlflow.start_run(run_id=run_id):
            info = mlflow.pyfunc.log_model(name="student", step=MEASURED_ONCE, **specification)
    session.client.set_terminated(run_id, "FINISHED", run.info.end_time)
    with redirect_stderr(io.StringIO()):  # it announces the version in its own words; the summary does so in ours
        return str(mlflow.register_model(info.model_uri, name, tags=carried).version)


def differences(champion: "ModelVersion", carried: dict[str, str]) -> list[str]:
    """Return in words what of their data differs between a version and a challenger's tags."""
    return [meaning for tag, meaning in SAME_DATA.items() if champion.tags.get(tag) != carried[tag]]


def _label_columns(params: Params) -> str:
    """Which columns the labels are from; a source other than a table has its own."""
    table = params.data.table
    if params.data.source != "table":
        return params.data.source
    return ", ".join([table.label] if isinstance(table.label, str) else table.label)


def _validation_hash(layout: Layout, challenger: Challenger) -> str:
    """The hash of which samples validate, with their groups and the labels they are given."""
    labels = read_csv(layout.labels, ["sample_id", "given"])
    given = dict(zip(labels["sample_id"], labels["given"], strict=True))
    groups = challenger.val.groups
    return sha256_json([[name, group, given.get(name, "")] for name, group in zip(challenger.ids, groups, strict=True)])


def _teachers(params: Params, layout: Layout, challenger: Challenger) -> dict[str, str]:
    """{teacher: hash of its weights} of those the student learnt from; "" where the file is no longer there."""
    method = METHODS[challenger.method]
    names = teachers_of(method, params.teacher_names(method.pool))
    files = {name: layout.teacher_weights(challenger.seed, method.pool or "full", name) for name in names}
    return {name: sha256_file(path) if path.is_file() else "" for name, path in files.items()}
