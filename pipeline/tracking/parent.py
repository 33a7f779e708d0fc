"""The parent run of a pipeline: headline metrics, files, data set, and the link to its runs side by side."""

import json
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from pipeline.common.errors import masked
from pipeline.common.files import sha256_file, sha256_json
from pipeline.common.layout import Layout
from pipeline.params.file import PARAMS_FILE
from pipeline.tracking.records import Evaluation, audited, headlines, shifted, values_hash
from pipeline.tracking.runs import EVALUATION, NOTE, Child
from pipeline.tracking.session import Point, Session

ATTACHED = "roskd.attached"


def attachments(layout: Layout, tried: Sequence[tuple[int, str]]) -> dict[str, list[Path]]:
    """The files that the parent keeps, by folder; the ONNX model is in the registered model instead.

    `tried`: the pairs of seed and method under shift.
    """
    return {
        "report": [layout.report, layout.data_card, layout.table],
        "report/figures": sorted(layout.figures.glob("*.png")),
        "metrics": sorted(path for path in layout.summary.parent.glob("[!.]*") if path.suffix in (".csv", ".json")),
        "splits": sorted(layout.splits.parent.glob("[!.]*.csv")),
        "data": [layout.data_report],
        "audit": [layout.audit_page, layout.suspects, layout.audit_summary],
        "external": [layout.external_report],
        **{
            str(folder.relative_to(layout.root)): sorted(folder.glob("[!.]*"))
            for folder in (layout.shift(seed, method) for seed, method in tried)
        },
    }


def settle_parent(
    session: Session,
    layout: Layout,
    expected: list[Child],
    evaluation: Evaluation,
    compared: list[str],
    tried: Sequence[tuple[int, str]],
) -> None:
    """Attach files and log the headline metrics where they changed, and end the parent unless `mlflow run` does.

    `compared`: the ids of the runs that the description links; `tried`: the pairs of seed and method under shift.
    """
    parent = session.client.get_run(session.parent_id)
    session.show_data(parent)
    values = headlines([child for child in expected if child.kind == "student"], evaluation)
    values |= audited(layout) | shifted(layout, tried)
    files = {folder: [path for path in paths if path.is_file()] for folder, paths in attachments(layout, tried).items()}
    parameters = masked(PARAMS_FILE.read_text(encoding="utf-8"))  # study.storage may hold a password
    hashes = {f"{folder}/{path.name}": sha256_file(path) for folder, paths in files.items() for path in paths}
    attached = sha256_json([parameters, hashes])
    tags = {EVALUATION: values_hash(values), ATTACHED: attached, NOTE: _comparison(session, compared)}
    if parent.data.tags.get(EVALUATION) != tags[EVALUATION]:
        session.log(session.parent_id, [Point(key, 0, value) for key, value in values.items()])
    if parent.data.tags.get(ATTACHED) != attached:
        for folder, paths in files.items():
            for path in paths:
                session.client.log_artifact(session.parent_id, str(path), folder)
        session.client.log_text(session.parent_id, parameters, PARAMS_FILE.name)
    if any(parent.data.tags.get(key) != value for key, value in tags.items()):
        session.tag(session.parent_id, tags)
    if not session.adopted and parent.info.status != "FINISHED":
        session.client.set_terminated(session.parent_id, "FINISHED")


def _comparison(session: Session, run_ids: list[str]) -> str:
    """The parent's description: a link to MLflow's page that shows the paper's methods side by side."""
    runs, experiments = (quote(json.dumps(ids)) for ids in (run_ids, [session.experiment_id]))
    return f"[The paper's methods side by side](#/compare-runs?runs={runs}&experiments={experiments})"
