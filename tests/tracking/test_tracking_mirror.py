"""The last stage: the tracker agrees with the artefacts afterwards, whatever it held before."""

import json
import os
import re
import shutil
import time
from urllib.parse import unquote

import pytest
from mlflow import MlflowClient
from mlflow.utils.validation import _validate_metric_name

from pipeline import tracking
from pipeline.common.class_names import LONGEST, require_class_names
from pipeline.common.errors import UserError
from pipeline.common.layout import Layout
from pipeline.distillation.methods import METHODS
from pipeline.tracking import records

STUDENTS = ["baseline_1", "baseline_2", "baseline_3", "baseline_3_same", "baseline_4", "baseline_5", "roskd_unseen"]
NAMES = {
    *(f"teacher/{pool}/{name}/seed0" for pool in ("full", "subset") for name in ("resnet18", "densenet121")),
    *(f"{method}/seed0" for method in [*STUDENTS, "roskd"]),
}


SPLIT_FILES = ["splits.csv", "labels.csv"]


@pytest.fixture
def client(finished) -> MlflowClient:
    return MlflowClient(os.environ["MLFLOW_TRACKING_URI"])


def children(client: MlflowClient) -> dict:
    """The active child runs by name; fails where one is there twice."""
    experiment = client.get_experiment_by_name("roskd-phantom").experiment_id
    found = [run for run in client.search_runs([experiment]) if "roskd.name" in run.data.tags]
    named = {run.data.tags["roskd.name"]: run for run in found}
    assert len(named) == len(found)
    return named


def parent_of(client: MlflowClient):
    return client.get_run(next(iter(children(client).values())).data.tags["mlflow.parentRunId"])


def curve(client: MlflowClient, run, key: str) -> list[tuple[int, float]]:
    return sorted((metric.step, metric.value) for metric in client.get_metric_history(run.info.run_id, key))


def counts(summary: tracking.Summary) -> tuple[int, ...]:
    return summary.live, summary.reused, summary.made, summary.updated, summary.unchanged


def train(params, layout: Layout, method="baseline_4", first=0.25):
    with tracking.live_run(params, layout, tracking.student(params, layout, 0, method)) as run:
        run.log_epoch(1, {"train/loss": 1.5, "val/f1_macro": first})
        run.log_epoch(2, {"val/f1_macro": 0.375})
        run.finish(layout.student_history(0, METHODS[method].pool, method))


def test_it_makes_every_run_from_the_files(client, layout, params):
    assert counts(tracking.mirror(params, layout)) == (0, 12, 12, 0, 0)
    made = children(client)
    assert set(made) == NAMES
    assert {run.info.status for run in made.values()} == {"FINISHED"}
    assert {run.data.tags["reused"] for run in made.values()} == {"true"}
    assert made["baseline_2/seed0"].data.metrics == {
        "train/loss": 1.5,
        "val/f1_macro": 0.375,
        "test/f1_macro": 0.515625,
        "test/selected/f1_macro": 0.390625,
        "test/auroc/NV": 0.75,
    }
    assert curve(client, made["baseline_2/seed0"], "val/f1_macro") == [(1, 0.25), (2, 0.375)]
    teacher = made["teacher/subset/resnet18/seed0"].data
    assert teacher.metrics == {
        "train/loss": 1.5,
        "val/f1_macro": 0.375,
        "test/f1_macro": 0.4,
        "training/changed_unseen": 0.25,
    }
    assert (teacher.params["pool"], teacher.params["architecture"]) == ("subset", "resnet18")


def test_roskd_shows_its_runs_curve_and_its_own_figures(client, layout, params):
    tracking.mirror(params, layout)
    roskd = children(client)["roskd/seed0"]
    assert roskd.data.metrics == {"val/f1_macro": 0.859375, "test/f1_macro": 0.609375, "test/auroc/NV": 0.75}
    assert curve(client, roskd, "val/f1_macro") == [(1, 0.25), (2, 0.375), (3, 0.859375)]
    assert "smoothed student (Eq. 1) of the run baseline_5" in roskd.data.tags["mlflow.note.content"]
    assert roskd.data.params["checkpoint"] == "smoothed"


def test_multilabel_f1_ends_the_curve_at_the_threshold_of_the_curve(client, finished, layout, params):
    rows = [
        (0, "roskd", "smoothed", "val", "f1_macro_at_0.5", "", 0.5),
        (0, "roskd", "smoothed", "val", "f1_macro", "", 0.75),
    ]
    finished.write_csv(layout.student_metrics, "seed,method,checkpoint,split,metric,class,value", rows)
    tracking.mirror(params, layout)
    assert children(client)["roskd/seed0"].data.metrics == {"val/f1_macro": 0.5}


def test_the_parent_sums_up_and_holds_the_files(client, layout, params):
    tracking.mirror(params, layout)
    parent = parent_of(client)
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics == {
        "test/f1_macro": 0.609375,
        "methods/f1_macro/baseline_1": 0.5,
        "methods/f1_macro/baseline_2": 0.515625,
        "methods/f1_macro/baseline_3": 0.53125,
        "methods/f1_macro/baseline_3_same": 0.546875,
        "methods/f1_macro/baseline_4": 0.5625,
        "methods/f1_macro/baseline_5": 0.578125,
        "methods/f1_macro/roskd_unseen": 0.59375,
        "methods/f1_macro/roskd": 0.609375,
    }
    shown = [children(client)[f"{method}/seed0"].info.run_id for method in [*STUDENTS[:3], *STUDENTS[4:6], "roskd"]]
    assert re.findall("[0-9a-f]{32}", unquote(parent.data.tags["mlflow.note.content"])) == shown
    attached = {file.path for file in client.list_artifacts(parent.info.run_id)}
    assert attached == {"params.yaml", "report", "metrics", "splits", "data"}
    assert {file.path for file in client.list_artifacts(parent.info.run_id, "report")} == {
        "report/index.html",
        "report/data_card.html",
        "report/table.txt",
        "report/figures",
    }
    for folder, names in {
        "metrics": ["students.csv", "summary.json", "teachers.csv", "training.csv"],
        "splits": SPLIT_FILES,
    }.items():
        found = {file.path for file in client.list_artifacts(parent.info.run_id, folder)}
        assert found == {f"{folder}/{name}" for name in names}, "no hidden file"


def attack(finished, layout, values: dict[str, float], failed: int) -> None:
    """Write what the attacks have left of RoS-KD: macro F1 by budget in L2 under PGD, and its trust checks."""
    rows = [("", "", 0.0, "f1_macro", 0.75), *(("pgd", "l2", eps, "f1_macro", value) for eps, value in values.items())]
    finished.write_csv(layout.attack_figures(0, "roskd"), "attack,norm,eps,metric,value", rows)
    checks = [
        (0, "roskd", "monotone", norm, 0.5, 0.0, 0.01, int(norm != "l2" or not failed)) for norm in ("l2", "linf")
    ]
    finished.write_csv(layout.trust_checks, "seed,method,check,norm,eps,value,limit,passed", checks)


def test_a_students_run_keeps_its_figures_under_attack(client, finished, layout, params):
    """Those of a budget that is no longer attacked go; what this run did not attack is not read."""
    attack(finished, layout, {"0.25": 0.5, "1.0": 0.125}, failed=1)
    finished.write_csv(
        layout.attack_figures(0, "baseline_1"), "attack,norm,eps,metric,value", [("", "", 0, "f1_macro", 1)]
    )
    tracking.mirror(params, layout)

    def robust(method: str) -> dict[str, float]:
        metrics = children(client)[f"{method}/seed0"].data.metrics
        return {key: value for key, value in metrics.items() if key.startswith("robust/")}

    assert robust("roskd") == {
        "robust/clean/f1_macro": 0.75, "robust/pgd/l2/0.25/f1_macro": 0.5, "robust/pgd/l2/1/f1_macro": 0.125,
        "robust/checks_failed": 1,
    }  # fmt: skip
    assert robust("baseline_1") == robust("baseline_5") == {}
    shares = [("A", "present", "", 0.0, 9, 0.25), ("A", "present", "l2", 0.25, 9, 1.0), ("B", "absent", "", 0.0, 0, "")]
    finished.write_csv(layout.switched(0, "roskd"), "finding,wanted,norm,eps,n_images,switched", shares)
    attack(finished, layout, {"0.25": 0.625}, failed=0)
    assert counts(tracking.mirror(params, layout)) == (0, 12, 1, 0, 11)
    assert robust("roskd") == {
        "robust/clean/f1_macro": 0.75, "robust/pgd/l2/0.25/f1_macro": 0.625, "robust/checks_failed": 0,
        "robust/switched/A/present/clean": 0.25, "robust/switched/A/present/l2/0.25": 1,
    }  # fmt: skip


def test_the_parent_keeps_the_label_audit(client, finished, layout, params):
    summary = {"estimated_rate": 0.25, "known": {"average_precision": 0.75}}
    finished.write(layout.audit_summary, json.dumps(summary))
    finished.write(layout.suspects, "sample_id,rank\na,1\n")
    tracking.mirror(params, layout)
    parent = parent_of(client)
    assert {key: value for key, value in parent.data.metrics.items() if key.startswith("audit/")} == {
        "audit/estimated_rate": 0.25, "audit/average_precision": 0.75,
    }  # fmt: skip
    assert {file.path for file in client.list_artifacts(parent.info.run_id, "audit")} == {
        "audit/suspects.csv", "audit/summary.json",
    }  # fmt: skip


def test_the_parent_keeps_the_figures_under_shift(client, finished, layout, params):
    """A class of one image has no interval, and no figure; other folders are left of earlier runs."""
    head = "kind,severity,metric,value,low,high\n"
    for seed, value in ((0, 0.5), (1, 0.75)):
        rows = f"jpeg,mean,ce,0.1,,\nall,mean,f1_macro,{value},,\nall,mean,ce,{value},0.4,0.9\nall,mean,error,,,\n"
        finished.write(layout.corruption_figures(seed, "roskd"), head + rows)
        finished.write(layout.corruption_figures(seed, "gce"), head + rows)
    external = "external,f1_macro,0.25,,,3\nown,f1_macro,0.5,,,3\nexternal,error,,,,3\n"
    finished.write(layout.external_figures(0, "roskd"), "source,metric,value,low,high,n_groups\n" + external)
    assert params.seeds == (0,)
    tracking.mirror(params, layout)
    parent = parent_of(client)
    own = {"shift/mce/roskd": 0.5, "shift/corrupted_f1_macro/roskd": 0.5, "shift/external_f1_macro/roskd": 0.25}
    assert {key: value for key, value in parent.data.metrics.items() if key.startswith("shift/")} == own
    assert {file.path for file in client.list_artifacts(parent.info.run_id, "shift")} == {"shift/0"}
    assert {file.path for file in client.list_artifacts(parent.info.run_id, "shift/0/roskd")} == {
        "shift/0/roskd/corruptions.csv", "shift/0/roskd/external.csv",
    }  # fmt: skip
    both = records.shifted(layout, [(0, "roskd"), (1, "roskd")])
    assert both == own | {"shift/mce/roskd": 0.625, "shift/corrupted_f1_macro/roskd": 0.625}


def test_a_second_call_changes_nothing_and_is_quick(client, layout, params):
    tracking.mirror(params, layout)
    before = {name: run.info.run_id for name, run in children(client).items()}
    start = time.perf_counter()
    assert counts(tracking.mirror(params, layout)) == (0, 12, 0, 0, 12)
    assert time.perf_counter() - start < 5
    assert {name: run.info.run_id for name, run in children(client).items()} == before


def test_a_deleted_store_is_restored(client, finished, layout, migrated, params):
    tracking.mirror(params, layout)
    before = {name: run.data.metrics for name, run in children(client).items()}
    database = finished.root / "again.db"
    shutil.copy(migrated, database)
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{database}"  # the fixture puts it back
    tracking.mirror(params, layout)
    restored = children(MlflowClient(f"sqlite:///{database}"))
    assert {name: run.data.metrics for name, run in restored.items()} == before


def test_a_live_run_is_kept_and_evaluated(client, layout, params):
    train(params, layout)
    live = children(client)["baseline_4/seed0"]
    assert counts(tracking.mirror(params, layout)) == (1, 11, 11, 1, 0)
    kept = children(client)["baseline_4/seed0"]
    assert kept.info.run_id == live.info.run_id
    assert "reused" not in kept.data.tags
    assert kept.data.metrics["test/f1_macro"] == 0.5625


def test_a_changed_evaluation_updates_its_run_alone(client, finished, layout, params):
    tracking.mirror(params, layout)
    before = children(client)
    finished.write_students(baseline_3=0.875)
    assert counts(tracking.mirror(params, layout)) == (0, 12, 0, 1, 11)
    after = children(client)
    assert after["baseline_3/seed0"].data.metrics["test/f1_macro"] == 0.875
    assert {name: run.info.run_id for name, run in before.items()} == {n: run.info.run_id for n, run in after.items()}
    assert parent_of(client).data.metrics["methods/f1_macro/baseline_3"] == 0.875


def test_a_metric_that_is_gone_makes_its_run_again(client, finished, layout, params):
    tracking.mirror(params, layout)
    rows = [(0, "baseline_1", "last", "test", "f1_macro", "", 0.5)]
    finished.write_csv(layout.student_metrics, "seed,method,checkpoint,split,metric,class,value", rows)
    tracking.mirror(params, layout)
    assert children(client)["baseline_1/seed0"].data.metrics == {
        "train/loss": 1.5,
        "val/f1_macro": 0.375,
        "test/f1_macro": 0.5,
        "training/changed": 0.125,
    }


def test_a_changed_history_makes_its_run_again(client, finished, layout, params):
    tracking.mirror(params, layout)
    before = children(client)
    finished.write(layout.student_history(0, None, "baseline_1"), "epoch,split,metric,value\n1,val,f1_macro,0.125\n")
    assert counts(tracking.mirror(params, layout)) == (0, 12, 1, 0, 11)
    after = children(client)
    assert {name for name in NAMES if before[name].info.run_id != after[name].info.run_id} == {"baseline_1/seed0"}
    assert curve(client, after["baseline_1/seed0"], "val/f1_macro") == [(1, 0.125)]


def test_a_stale_live_run_is_replaced_and_none_is_left_running(client, layout, params):
    train(params, layout, method="baseline_1", first=0.0625)
    train(params, layout)
    stray = children(client)["baseline_4/seed0"]
    client.set_tag(stray.info.run_id, "roskd.name", "a method of older code")
    client.update_run(stray.info.run_id, status="RUNNING")
    tracking.mirror(params, layout)
    after = children(client)
    assert set(after) == {*NAMES, "a method of older code"}
    assert after["a method of older code"].info.status == "KILLED"
    assert {after[name].info.status for name in NAMES} == {"FINISHED"}
    assert curve(client, after["baseline_1/seed0"], "val/f1_macro") == [(1, 0.25), (2, 0.375)]


def test_the_parent_of_mlflow_run_is_left_for_it_to_end(client, layout, params, monkeypatch):
    outer = client.create_run(client.create_experiment("roskd-phantom")).info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", outer)
    tracking.mirror(params, layout)
    assert set(children(client)) == NAMES
    assert parent_of(client).info.run_id == outer
    assert parent_of(client).info.status == "RUNNING"


def test_a_missing_history_is_a_plain_message_and_changes_nothing(client, layout, params):
    layout.student_history(0, "subset", "baseline_5").unlink()
    with pytest.raises(UserError, match=r"baseline_5/history\.csv: no such file; run make repro"):
        tracking.mirror(params, layout)
    assert client.get_experiment_by_name("roskd-phantom") is None


def test_teachers_and_students_that_no_chosen_method_needs_are_not_expected(client, layout, make_two):
    chosen = make_two(methods=["baseline_2", "roskd"])
    for path in (layout.student_history(0, None, "baseline_1"), layout.teacher_history(0, "full", "resnet18")):
        path.unlink()
    assert counts(tracking.mirror(chosen, layout)) == (0, 6, 6, 0, 0)
    made = children(client)
    teachers = {"teacher/full/densenet121", "teacher/subset/resnet18", "teacher/subset/densenet121"}
    students = {"baseline_2", "baseline_5", "roskd"}  # Baseline V's run is the one that RoS-KD smooths
    assert set(made) == {f"{name}/seed0" for name in teachers | students}
    shown = [made[f"{method}/seed0"].info.run_id for method in ("baseline_2", "roskd")]
    assert re.findall("[0-9a-f]{32}", unquote(parent_of(client).data.tags["mlflow.note.content"])) == shown


def test_figures_of_a_method_of_older_code_are_passed_over(client, finished, layout, params):
    rows = [(0, name, "last", "test", "f1_macro", "", 0.5) for name in ("baseline_6", "baseline_1")]
    finished.write_csv(layout.student_metrics, "seed,method,checkpoint,split,metric,class,value", rows)
    tracking.mirror(params, layout)
    assert set(children(client)) == NAMES
    assert parent_of(client).data.metrics == {"methods/f1_macro/baseline_1": 0.5}


@pytest.mark.parametrize(
    "name", ["$\\bad$", "<script>", "=SUM(1)", "{{7*7}}", "None", "1e5", "🩺", "..", ".", "x" * LONGEST]
)
def test_every_class_name_that_is_allowed_gives_a_metric_that_mlflow_allows(name):
    require_class_names([name, "other"], "test", listed=True)
    _validate_metric_name(records._key("test", "selected", "precision_at_0.5", name))


@pytest.mark.parametrize(
    ("method", "checkpoint", "key"),
    [
        ("baseline_1", "last", None),  # the last point of the run's own curve
        ("roskd_cross", "smoothed", "val/f1_macro"),
        ("roskd_cross", "last", "val/last/f1_macro"),
        ("early_stopped", "selected", "val/f1_macro"),
    ],
)
def test_a_method_shows_the_validation_of_its_own_weights(method, checkpoint, key):
    row = {"method": method, "checkpoint": checkpoint, "split": "val", "metric": "f1_macro", "class": ""}
    assert records._student_key(row) == key
