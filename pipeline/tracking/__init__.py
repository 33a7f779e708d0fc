"""MLflow as a view of the artefacts that can be rebuilt; the only part of `pipeline/` that imports mlflow, and late.

A stage logs with `live_run` while it trains; the last stage, `track`, calls `mirror`, which repairs, evaluates and
registers:

    with tracking.live_run(params, layout, tracking.student(params, layout, seed, "baseline_5")) as run:
        run.log_epoch(epoch, {"train/loss": 1.2, "val/f1_macro": 0.6})
        run.finish(history)
    print(tracking.mirror(params, layout))
"""

from pipeline.tracking.by_hand import Change, listed, promote, rollback, table
from pipeline.tracking.fetch import Fetched, fetch_model, model_exists
from pipeline.tracking.live import LiveRun, live_run
from pipeline.tracking.mirror import Summary, mirror
from pipeline.tracking.registry import Registration, model_name, register
from pipeline.tracking.runs import Child, children, student, teacher
from pipeline.tracking.studies import StudyRun, TrialRun, study_run
from pipeline.tracking.ui import ui

__all__ = [
    "Change",
    "Child",
    "Fetched",
    "LiveRun",
    "Registration",
    "StudyRun",
    "Summary",
    "TrialRun",
    "children",
    "fetch_model",
    "listed",
    "live_run",
    "mirror",
    "model_exists",
    "model_name",
    "promote",
    "register",
    "rollback",
    "student",
    "study_run",
    "table",
    "teacher",
    "ui",
]
