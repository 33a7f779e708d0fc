"""The parent run of a pipeline: headline metrics, files, data set, and the link to its runs side by side."""

import json
from pathlib import Path
from urllib.parse import quote

from pipeline.common import layout as artifacts
from pipeline.common.files import sha256_file, sha256_json
from pipeline.distillation.methods import ROSKD
from pipeline.params.file import PARAMS_FILE
from pipeline.tracking.records import Evaluation, headlines, values_hash
from pipeline.tracking.runs import EVALUATION, NOTE, Child
from pipeline.tracking.session import Point, Session

ATTACHED = "roskd.attached"
ATTACHMENTS = {
    "": (str(PARAMS_FILE),),
    "report": (str(artifacts.REPORT), str(artifacts.DATA_CARD), str(artifacts.TABLE)),
    "report/figures": (f"{artifacts.REPORT.parent}/figures/*.png",),
    "metrics": (f"{artifacts.STUDENT_METRICS.parent}/*.csv",),
    "splits": (f"{artifacts.SPLITS.parent}/*.csv",),
    "data": (str(artifacts.DATA_REPORT),),
}
"""Folder in the parent's artefacts -> patterns below the root. The ONNX model is in the registered model instead."""


SIDE_BY_SIDE = ("baseline_1", "baseline_2", "baseline_3", "baseline_4", "baseline_5", ROSKD)


def settle_parent(
    session: Session, expected: list[Child], evaluation: Evaluation, compared: list[str], root: Path
) -> None:
    """Attach files and log the headline metrics where they changed, and end the parent unless `mlflow run` does.

    `compared`: the ids of the runs of SIDE_BY_SIDE, which the description links.
    """
    parent = session.client.get_run(session.parent_id)
    session.show_data(parent)
    values = headlines([child for child in expected if child.kind == "student"], evaluation)
    files = {
        folder: sorted({path for name in names for path in root.glob(name)}) for folder, names in ATTACHMENTS.items()
    }
    attached = sha256_json(
        {str(path.relative_to(root)): sha256_file(path) for group in files.values() for path in group}
    )
    tags = {EVALUATION: values_hash(values), ATTACHED: attached, NOTE: _comparison(session, compared)}
    if parent.data.tags.get(EVALUATION) != tags[EVALUATION]:
        session.log(session.parent_id, [Point(key, 0, value) for key, value in values.items()])
    if parent.data.tags.get(ATTACHED) != attached:
        for folder, paths in files.items():
            for path in paths:
                session.client.log_artifact(session.parent_id, str(path), folder or None)
    if any(parent.data.tags.get(key) != value for key, value in tags.items()):
        session.tag(session.parent_id, tags)
    if not session.adopted and parent.info.status != "FINISHED":
        session.client.set_terminated(session.parent_id, "FINISHED")


def _comparison(session: Session, run_ids: list[str]) -> str:
    """The parent's description: a link to MLflow's page that shows Baselines I to V and RoS-KD side by side."""
    runs, experiments = (quote(json.dumps(ids)) for ids in (run_ids, [session.experiment_id]))
    return f"[Baselines I to V and RoS-KD side by side](#/compare-runs?runs={runs}&experiments={experiments})"
