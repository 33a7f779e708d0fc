"""A study in the tracker: one run, a child for each trial, and nothing that can stop a trial."""

import os

import pytest
from mlflow import MlflowClient

from pipeline import tracking
from tests.tracking.test_tracking_live import curve, runs


def test_trials_are_children_of_the_studys_run_with_their_own_values(layout, params, tmp_path):
    study = tracking.study_run(params, layout, "mine", "k" * 64)
    with study.trial(3, "mine 3: distillation.tau 2", {"distillation.tau": 2.0}) as run:
        run.log_epoch(1, {"val/f1_macro": 0.25})
        run.log_epoch(2, {"val/f1_macro": 0.5})
        run.measured({"val/f1_macro_smoothed": 0.625, "test/f1_macro": 0.75}, "complete")
    trial, parent, pipeline = runs()
    assert run.run_id == trial.info.run_id
    assert (parent.info.run_name, parent.info.status) == ("study mine", "RUNNING")
    assert trial.data.tags["mlflow.parentRunId"] == parent.info.run_id == study.run_id
    assert (trial.data.tags["roskd.trial"], trial.info.status) == ("complete", "FINISHED")
    assert curve(trial, "val/f1_macro") == [(1, 0.25), (2, 0.5)]
    assert trial.data.metrics["test/f1_macro"] == 0.75
    assert trial.data.params["distillation.tau"] == "2.0"
    assert trial.data.params["distillation.alpha"] == "0.9"
    assert pipeline.data.tags["roskd.kind"] == "pipeline"
    page = tmp_path / "index.html"
    page.write_text("<p>the page</p>")
    tracking.study_run(params, layout, "mine", "k" * 64).finish({"best/test/f1_macro": 0.75}, [page], "best: tau 2")
    client = MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    again = client.get_run(study.run_id)
    assert (again.info.status, again.data.metrics["best/test/f1_macro"]) == ("FINISHED", 0.75)
    assert again.data.tags["mlflow.note.content"] == "best: tau 2"
    assert [file.path for file in client.list_artifacts(study.run_id)] == ["index.html"]
    assert tracking.study_run(params, layout, "mine", "l" * 64).run_id != study.run_id  # begun with another definition


def test_a_trial_whose_worker_was_killed_is_ended_and_a_failure_does_not_end_the_study(layout, params):
    study = tracking.study_run(params, layout, "mine", "k" * 64)

    def interrupted() -> None:
        with study.trial(0, "mine 0", {}):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with study.trial(1, "mine 1", {}) as run:
        pass
    study.lost(run.run_id)
    statuses = {one.info.run_name: one.info.status for one in runs()}
    assert statuses["mine 0"] == statuses["mine 1"] == "KILLED"
    assert statuses["study mine"] == "RUNNING"


def test_a_trial_is_there_once_its_run_has_ended_well(layout, params):
    study = tracking.study_run(params, layout, "mine", "k" * 64)
    assert not study.has_trial(1)
    with study.trial(1, "mine 1", {}) as run:
        assert not study.has_trial(1), "it is still running"
    with study.trial(11, "mine 11", {}):
        pass
    again = tracking.study_run(params, layout, "mine", "k" * 64)
    assert [number for number in range(12) if again.has_trial(number)] == [1, 11]
    again.lost(run.run_id)
    assert not again.has_trial(1), "killed"
    again.drop_trial(1)
    assert run.run_id not in {one.info.run_id for one in runs()}
    assert not tracking.study_run(params, layout, "other", "k" * 64).has_trial(11)


def test_a_killed_trial_of_a_machine_with_a_tracker_of_its_own_costs_a_warning(layout, params, caplog):
    study = tracking.study_run(params, layout, "mine", "k" * 64)
    study.lost("0" * 32)
    assert "0" * 32 in caplog.text
    assert "stays open" in caplog.text
    with study.trial(1, "mine 1", {}) as run:  # tracking goes on
        pass
    assert run.run_id in {one.info.run_id for one in runs()}


def test_mlflow_run_makes_the_studys_run(layout, params, monkeypatch):
    tracking.study_run(params, layout, "first", "k" * 64)  # makes the experiment
    client = MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    experiment = client.get_experiment_by_name("roskd-phantom")
    given = client.create_run(experiment.experiment_id).info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", given)
    study = tracking.study_run(params, layout, "mine", "m" * 64)
    assert study.run_id == given
    assert client.get_run(given).data.tags["roskd.name"] == "study/mine"


def test_without_tracking_nothing_is_done(layout, make_two):
    off = make_two(tracking={"enabled": False})
    study = tracking.study_run(off, layout, "mine", "k" * 64)
    with study.trial(0, "mine 0", {}) as run:
        run.log_epoch(1, {"val/f1_macro": 0.25})
        run.measured({"test/f1_macro": 0.5}, "complete")
    study.lost("0" * 32)
    study.finish({}, [], "")
    assert study.has_trial(5), "there is nothing to make up for"
    assert (study.run_id, run.run_id) == ("", "")
