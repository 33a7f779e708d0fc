"""Runs logged while they train: identity, resumption, failure, and the switch that turns it all off."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from mlflow import MlflowClient

from pipeline import tracking
from pipeline.common.errors import UserError
from pipeline.common.layout import Layout
from pipeline.distillation.methods import METHODS

REPOSITORY = Path(__file__).resolve().parents[2]
EPOCHS = {1: {"train/loss": 1.5, "val/f1_macro": 0.25}, 2: {"train/loss": float("nan"), "val/f1_macro": 0.375}}


def runs(name: str | None = None, experiment: str = "roskd-phantom"):
    """The active runs, newest first; of one child, or all."""
    client = MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    found = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    return [run for run in found if name in (None, run.data.tags.get("roskd.name"))]


def curve(run, key: str) -> list[tuple[int, float]]:
    history = MlflowClient(os.environ["MLFLOW_TRACKING_URI"]).get_metric_history(run.info.run_id, key)
    return sorted((metric.step, metric.value) for metric in history)


def train(params, layout: Layout, epochs=(1, 2), method="baseline_4"):
    """Log a student as its stage does."""
    with tracking.live_run(params, layout, tracking.student(params, layout, 0, method)) as run:
        for epoch in epochs:
            run.log_epoch(epoch, EPOCHS[epoch])
        run.finish(layout.student_history(0, METHODS[method].pool, method))


def test_a_live_run_holds_curves_parameters_and_what_it_is(layout, params):
    train(params, layout)
    child, parent = runs()
    assert child.info.run_name == "baseline_4"
    assert child.info.status == "FINISHED"
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert curve(child, "val/f1_macro") == [(1, 0.25), (2, 0.375)]
    assert curve(child, "train/loss") == [(1, 1.5)]
    assert child.data.params["method"] == "baseline_4"
    assert child.data.params["weighting"] == "reinforced"
    assert child.data.params["teachers"] == "resnet18, densenet121"
    assert child.data.params["distillation.tau"] == "4.0"
    assert child.data.tags["roskd.key"] == parent.data.tags["roskd.key"]
    assert child.data.tags["roskd.data_hash"] == "d" * 64
    assert child.data.tags["roskd.kind"] == "student"
    assert parent.data.tags["roskd.kind"] == "pipeline"
    assert parent.info.run_name == "noise symmetric 0.4, overlap 0.4, tau 4, alpha 0.9"


def test_several_seeds_stand_in_the_run_names(make_params, tmp_path):
    both, layout = make_params(seeds=[0, 1]), Layout(tmp_path)
    assert tracking.student(both, layout, 1, "baseline_5").title == "baseline_5 seed 1"
    assert tracking.student(both, layout, 1, "baseline_5").name == "baseline_5/seed1"
    assert tracking.teacher(both, layout, 1, "subset", "resnet18").title == "teacher subset resnet18 seed 1"
    assert tracking.teacher(both, layout, 1, "subset", "resnet18").name == "teacher/subset/resnet18/seed1"


@pytest.mark.parametrize(("error", "status"), [(ValueError, "FAILED"), (KeyboardInterrupt, "KILLED")])
def test_an_error_ends_the_run_and_its_parent_with_it(layout, params, error, status):
    with pytest.raises(error), tracking.live_run(params, layout, tracking.student(params, layout, 0, "baseline_1")):
        raise error
    assert [run.info.status for run in runs()] == [status, status]


def test_a_killed_process_is_continued_without_repeating_points(layout, params):
    code = f"""
        import os
        from pipeline import tracking
        from pipeline.common.layout import Layout
        from pipeline.params.tree import Params
        params, layout = Params.model_validate_json({params.model_dump_json()!r}), Layout()
        with tracking.live_run(params, layout, tracking.student(params, layout, 0, "baseline_4")) as run:
            run.log_epoch(1, {{"train/loss": 1.5, "val/f1_macro": 0.25}})
            os.kill(os.getpid(), 9)
    """
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    killed = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], env=environment, check=False)
    assert killed.returncode == -9
    (before,) = runs("baseline_4/seed0")
    assert before.info.status == "RUNNING"
    train(params, layout)
    (after,) = runs("baseline_4/seed0")
    assert after.info.run_id == before.info.run_id
    assert after.info.status == "FINISHED"
    assert curve(after, "val/f1_macro") == [(1, 0.25), (2, 0.375)]
    assert "roskd.content" in after.data.tags
    assert len(runs()) == 2


def test_a_finished_run_is_replaced_when_it_is_trained_again(layout, params):
    train(params, layout)
    (first,) = runs("baseline_4/seed0")
    train(params, layout)
    (second,) = runs("baseline_4/seed0")
    assert second.info.run_id != first.info.run_id


def test_a_run_that_differs_from_its_history_is_not_declared_its_content(layout, params):
    train(params, layout, epochs=(1,))
    (run,) = runs("baseline_4/seed0")
    assert "roskd.content" not in run.data.tags


def test_a_tracker_that_fails_later_costs_a_warning_and_no_training(layout, params, monkeypatch, caplog):
    def refuse(*args, **kwargs):
        raise OSError("disk full")

    with tracking.live_run(params, layout, tracking.student(params, layout, 0, "baseline_4")) as run:
        run.log_epoch(1, EPOCHS[1])
        monkeypatch.setattr(MlflowClient, "log_batch", refuse)
        run.log_epoch(2, EPOCHS[2])
        run.finish(layout.student_history(0, "subset", "baseline_4"))
    assert [record.getMessage().partition("\n")[0] for record in caplog.records] == ["tracking stopped: disk full"]


def test_another_temperature_is_another_parent_and_the_old_one_stays(layout, make_two, params):
    train(params, layout)
    before = {run.info.run_id for run in runs()}
    train(make_two(distillation={"tau": 2.0}), layout)
    assert len(before) == 2
    assert len(runs()) == 4
    assert before < {run.info.run_id for run in runs()}


def test_the_device_and_the_place_of_the_data_do_not_make_another_parent(layout, make_two, params):
    train(params, layout)
    moved = make_two(machine={"device": "cpu"}, data={"path": "/elsewhere"})
    train(moved, layout, method="baseline_1")
    assert len([run for run in runs() if run.data.tags["roskd.kind"] == "pipeline"]) == 1


def test_corrected_labels_make_another_parent(finished, layout, params):
    train(params, layout)
    finished.write("corrections.csv", "sample_id,label\na,DF\n")
    train(params, layout)
    assert len([run for run in runs() if run.data.tags["roskd.kind"] == "pipeline"]) == 2


def test_the_run_of_mlflow_run_becomes_the_parent(layout, params, monkeypatch):
    client = MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    outer = client.create_run(client.create_experiment("elsewhere")).info.run_id
    client.log_param(outer, "task", "multiclass")
    monkeypatch.setenv("MLFLOW_RUN_ID", outer)
    train(params, layout)
    child, parent = runs(experiment="elsewhere")
    assert parent.info.run_id == outer
    assert parent.data.tags["roskd.kind"] == "pipeline"
    assert parent.data.metrics == {}
    assert parent.info.status == "RUNNING"
    assert child.data.tags["mlflow.parentRunId"] == outer
    assert client.get_experiment_by_name("roskd-phantom") is None


def test_a_named_experiment_is_used(layout, make_two):
    train(make_two(tracking={"experiment": "mine"}), layout)
    assert len(runs(experiment="mine")) == 2


@pytest.mark.parametrize("how", ["enabled", "active"])
def test_switched_off_it_imports_no_mlflow(finished, make_params, how):
    used = make_params(tracking={"enabled": how != "enabled"})
    code = f"""
        import sys
        from pathlib import Path
        from pipeline import tracking
        from pipeline.common.layout import Layout
        from pipeline.params.tree import Params
        used, layout = Params.model_validate_json({used.model_dump_json()!r}), Layout()
        child = tracking.student(used, layout, 0, "baseline_1")
        with tracking.live_run(used, layout, child, active={how == "enabled"}) as run:
            run.log_epoch(1, {{"val/f1_macro": 0.5}})
            run.finish(Path("missing.csv"))
        if {how == "enabled"}:
            print(tracking.mirror(used, layout))
            print(tracking.register(used, layout))
        print("mlflow" in sys.modules)
    """
    printed = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert printed.splitlines()[-1] == "False"


def test_unprepared_data_is_a_plain_message(layout, params):
    layout.data_report.unlink()
    with pytest.raises(UserError, match=r"report\.json: no such file; prepare the data first"):
        train(params, layout)


def test_artefacts_are_kept_beside_the_database_wherever_it_is(finished, layout, params, monkeypatch):
    (finished.root / "else where").mkdir()
    (finished.root / "mlflow.db").rename(finished.root / "else where/mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{finished.root / 'else where/mlflow.db'}")
    train(params, layout)
    (run,) = runs("baseline_4/seed0")
    assert run.info.artifact_uri.startswith(str(finished.root / "else where/mlruns/roskd-phantom"))
