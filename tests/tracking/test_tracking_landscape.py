"""The tracker shows how sharp the loss around each student is."""

import json
import os

from mlflow import MlflowClient

from pipeline import tracking


def write(finished, method: str, trace: float) -> None:
    top = {"value": 12.5, "standard_error": 0.5, "residual": 0.1, "iterations": 9, "converged": True}
    found = {"loss": 0.75, "top_eigenvalue": top, "trace": {"value": trace, "standard_error": 2.0, "draws": 5}}
    finished.write(finished.layout.sharpness(0, method), json.dumps(found))


def of_run(name: str) -> tuple[str, dict[str, float]]:
    """The id and the metrics sharpness/... of a child."""
    client = MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    experiment = client.get_experiment_by_name("roskd-phantom")
    assert experiment is not None
    (run,) = [one for one in client.search_runs([experiment.experiment_id]) if one.data.tags.get("roskd.name") == name]
    return run.info.run_id, {key: value for key, value in run.data.metrics.items() if key.startswith("sharpness/")}


def test_sharpness_is_logged_into_the_students_runs_and_kept_up_to_date(finished, params):
    write(finished, "roskd", 100.0)
    write(finished, "baseline_1", 1.0)  # of an earlier run: params.yaml does not look at it
    tracking.mirror(params, finished.layout)
    first, values = of_run("roskd/seed0")
    assert values == {
        "sharpness/loss": 0.75,
        "sharpness/top_eigenvalue": 12.5,
        "sharpness/top_eigenvalue_error": 0.5,
        "sharpness/trace": 100.0,
        "sharpness/trace_error": 2.0,
    }
    assert of_run("baseline_1/seed0")[1] == of_run("baseline_5/seed0")[1] == {}
    write(finished, "roskd", 90.0)
    assert tracking.mirror(params, finished.layout).updated == 1
    assert of_run("roskd/seed0") == (first, values | {"sharpness/trace": 90.0})
    finished.layout.sharpness(0, "roskd").unlink()
    assert tracking.mirror(params, finished.layout).made == 1
    again, values = of_run("roskd/seed0")
    assert (again != first, values) == (True, {})


def test_a_method_that_is_not_trained_has_no_run_to_log_into(finished, make_two):
    write(finished, "baseline_3", 100.0)
    summary = tracking.mirror(make_two(methods=["roskd"]), finished.layout)
    assert summary.made == 4  # two teachers, Baseline V, and RoS-KD, which is its smoothed student
