"""The real pipeline through `dvc repro` on a tiny phantom: what comes out, what runs again, what survives."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import pytest

from pipeline.common.files import sha256_file
from tests.e2e.project import Project, environment, ran

pytestmark = pytest.mark.slow

RUNS = ["baseline_1", "baseline_2", "baseline_3", "baseline_3_same", "baseline_4", "baseline_5", "roskd_unseen"]
TEACHERS = ["resnet18", "mobilenet_v2"]
EVERY_STAGE = {
    "check", "prepare", "split", "noise", "subsets", "evaluate", "export", "report", "track",
    "student_plain@0", "student_full@0", "student_subset@0", "soft_labels_full@0", "soft_labels_subset@0",
    "teacher_full@0", "teacher_subset@0",
}  # fmt: skip


def hashes(project: Project, *folders: str) -> dict[str, str]:
    """{path: SHA-256} of every file in `folders` of artifacts/."""
    root = project.path / "artifacts"
    return {
        str(path.relative_to(root)): sha256_file(path)
        for folder in folders
        for path in sorted((root / folder).rglob("*"))
        if path.is_file()
    }


OUTPUTS = ("data", "splits", "teachers", "soft_labels", "students", "predictions", "metrics", "onnx")


def test_every_stage_ran_and_left_what_the_contract_names(finished):
    project, told = finished
    assert ran(told) == EVERY_STAGE
    artifacts = project.path / "artifacts"
    images = np.load(artifacts / "data/images.npy")
    assert images.shape == (160, 32, 32, 3)
    assert images.dtype == np.uint8
    assert list(pd.read_csv(artifacts / "data/samples.csv")) == ["sample_id", "group_id", "label"]
    splits = pd.read_csv(artifacts / "splits/splits.csv")
    assert list(splits) == ["sample_id", "split"]
    assert list(pd.read_csv(artifacts / "splits/labels.csv")) == ["sample_id", "given", "published", "flipped"]
    assert list(pd.read_csv(artifacts / "splits/subsets.csv")) == ["sample_id", *TEACHERS]
    trained = int((splits["split"] == "train").sum())
    for pool in ("full", "subset"):
        for name in TEACHERS:
            assert (artifacts / f"teachers/0/{pool}/{name}.safetensors").is_file()
            history = pd.read_csv(artifacts / f"teachers/0/{pool}/{name}.history.csv")
            assert list(history) == ["epoch", "split", "metric", "value"]
            assert set(history["epoch"]) == {1, 2}
            soft = np.load(artifacts / f"soft_labels/0/{pool}/{name}.npy", mmap_mode="r")
            assert soft.shape == (3, trained, 8)
            assert soft.dtype == np.float16
    for run in RUNS:
        folder = artifacts / f"students/0/{run}"
        assert sorted(path.name for path in folder.iterdir()) == [
            "history.csv", "last.safetensors", "selected.safetensors", "smoothed.safetensors",
        ]  # fmt: skip
    students = pd.read_csv(artifacts / "metrics/students.csv", keep_default_na=False)
    assert list(students) == ["seed", "method", "checkpoint", "split", "metric", "class", "value"]
    assert set(students["method"]) == {*RUNS, "roskd"}
    roskd, smoothed = (
        students[(students["method"] == method) & (students["checkpoint"] == "smoothed")].drop(columns="method")
        for method in ("roskd", "baseline_5")
    )
    assert roskd.reset_index(drop=True).equals(smoothed.reset_index(drop=True))
    comparisons = pd.read_csv(artifacts / "metrics/comparisons.csv")
    assert list(comparisons) == [
        "method_a", "method_b", "metric", "difference", "low", "high", "p_value", "p_holm", "n_groups", "n_seeds",
        "resampled",
    ]  # fmt: skip
    assert set(RUNS) <= set(comparisons["method_b"])
    assert not (artifacts / "resume").exists() or not list((artifacts / "resume").iterdir())


def test_the_table_and_the_page_show_every_method(finished):
    project, told = finished
    for title in ("Baseline I ", "Baseline II ", "Baseline III ", "Baseline IV ", "Baseline V ", "RoS-KD "):
        assert title in told
    page = (project.path / "artifacts/report/index.html").read_text()
    assert page.count("data:image/") >= 6
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "0.716" in page  # the paper's F1 of RoS-KD


def test_labels_of_test_are_published_and_no_group_is_in_two_splits(finished):
    artifacts = finished[0].path / "artifacts"
    labels = pd.read_csv(artifacts / "splits/labels.csv")
    split = pd.read_csv(artifacts / "splits/splits.csv")["split"]
    groups = pd.read_csv(artifacts / "data/samples.csv")["group_id"]
    assert (labels["given"] == labels["published"])[split == "test"].all()
    assert (labels["flipped"] == (labels["given"] != labels["published"])).all()
    assert labels["flipped"][split != "test"].mean() == pytest.approx(0.3, abs=0.13)
    assert split.groupby(groups).nunique().max() == 1


def test_the_onnx_file_answers_as_the_smoothed_student(finished):
    artifacts = finished[0].path / "artifacts"
    assert sorted(path.name for path in (artifacts / "onnx").iterdir()) == ["student.json", "student.onnx"]
    session = onnxruntime.InferenceSession(artifacts / "onnx/student.onnx", providers=["CPUExecutionProvider"])
    stored = np.load(artifacts / "predictions/0/roskd-smoothed.npz")
    split = pd.read_csv(artifacts / "splits/splits.csv")["split"]
    pixels = np.load(artifacts / "data/images.npy")[split == "test"]
    probabilities, logits = session.run(["probabilities", "logits"], {"pixels": pixels})
    assert np.abs(logits - stored["test_logits"]).max() <= 1e-4
    assert probabilities.sum(axis=1) == pytest.approx(np.ones(len(pixels)), abs=1e-5)
    assert json.loads((artifacts / "onnx/student.json").read_text())["classes"][0] == "MEL"


def runs_of(project: Project) -> pd.DataFrame:
    code = (
        "import mlflow; mlflow.set_tracking_uri('sqlite:///mlflow.db'); "
        "runs = mlflow.search_runs(search_all_experiments=True); "
        "versions = mlflow.MlflowClient().get_registered_model('roskd-phantom').aliases; "
        "runs.to_csv('runs.csv'); print(versions)"
    )
    told = project.run(sys.executable, "-c", code)
    assert "'champion': 1" in told
    return pd.read_csv(project.path / "runs.csv")


def test_runs_are_tracked_live_and_a_lost_database_is_restored_without_training(finished, tmp_path):
    project = finished[0].copy(tmp_path / "copy")
    before = runs_of(project)
    names = {f"{run}" for run in (*RUNS, "roskd")}
    assert names <= set(before["tags.mlflow.runName"])
    live = before[before["tags.method"].isin(RUNS)]
    assert live["tags.reused"].isna().all() if "tags.reused" in live else True
    assert before[before["tags.method"].isin([*RUNS, "roskd"])]["metrics.test/f1_macro"].notna().all()
    (project.path / "mlflow.db").unlink()
    told = project.repro()
    assert ran(told) == {"track"}
    after = runs_of(project)
    columns = ["tags.mlflow.runName", "metrics.test/f1_macro", "metrics.val/f1_macro"]
    restored, lived = (table[columns].sort_values(columns[0]).reset_index(drop=True) for table in (after, before))
    pd.testing.assert_frame_equal(restored, lived)


def test_a_second_run_does_nothing_but_look(finished):
    began = time.monotonic()
    assert ran(finished[0].repro()) <= {"check", "track"}
    assert time.monotonic() - began < 60  # 20 s on a quiet machine; the benchmark measures it


def test_another_temperature_trains_the_distilling_students_alone(finished, tmp_path):
    project = finished[0].copy(tmp_path / "copy")
    before = hashes(project, *OUTPUTS)
    project.change("tau: 0.5 ", "tau: 2.0 ")
    assert ran(project.repro()) == {
        "check", "student_full@0", "student_subset@0", "evaluate", "export", "report", "track",
    }  # fmt: skip
    after = hashes(project, *OUTPUTS)
    changed = {name for name in before if before[name] != after[name]}
    assert {f"students/0/{run}/last.safetensors" for run in RUNS[1:]} <= changed
    assert not [
        name for name in changed if name.startswith(("data", "splits", "teachers", "soft", "students/0/baseline_1"))
    ]


def would_run(project: Project) -> set[str]:
    """The stages whose own inputs changed, and all that depend on them."""
    status = json.loads(project.run(sys.executable, "-m", "dvc", "status", "--json"))
    dot = project.run(sys.executable, "-m", "dvc", "dag", "--dot")
    edges = [tuple(part.strip(' ";') for part in line.split("->")) for line in dot.splitlines() if "->" in line]
    found = {name for name in status if name != "track"}
    while more := {after for before, after in edges if before in found} - found:
        found |= more
    return found


def test_another_overlap_leaves_the_full_data_teachers_and_their_students(finished, tmp_path):
    project = finished[0].copy(tmp_path / "copy")
    project.change("overlap: 0.4 ", "overlap: 0.6 ")
    assert would_run(project) - {"check"} >= {"subsets", "student_subset@0", "evaluate"}
    untouched = {name for name in EVERY_STAGE if name.startswith(("teacher_full", "soft_labels_full"))}
    untouched |= {"prepare", "split", "noise", "student_plain@0", "student_full@0"}
    # `check` reads all of params.yaml but writes a constant file, so what hangs on it alone does not run
    project.run(sys.executable, "-m", "dvc", "repro", "--single-item", "check", "subsets")
    assert not would_run(project) & untouched
    assert would_run(project) >= {"teacher_subset@0", "soft_labels_subset@0"}


def test_a_changed_plot_writes_the_report_alone(finished, tmp_path):
    project = finished[0].copy(tmp_path / "copy")
    path = project.path / "pipeline/report/style.py"
    path.write_text(path.read_text() + "\n# a new colour\n")
    assert would_run(project) == {"report", "track"}


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("tau: 0.5 ", "tau: -1 ", "params.yaml: distillation.tau is -1"),
        ("seeds: [0]", "seeds: []", "seeds is []"),
        ("path: pipeline/data/phantom.py", "path: pipeline/data/nothing.py", "nothing.py"),
        ("  epochs: 2", "  epoch: 2", "training.epoch is not a parameter; did you mean epochs?"),
    ],
)
def test_a_mistake_stops_before_anything_is_deleted(finished, old, new, told):
    project = finished[0]
    before = hashes(project, ".")
    original = (project.path / "params.yaml").read_text()
    project.change(old, new)
    try:
        assert told in project.run(sys.executable, "-m", "pipeline.stages", "preset", ok=False)
        project.repro(ok=False)
        assert hashes(project, ".") == before
    finally:
        (project.path / "params.yaml").write_text(original)
    assert ran(project.repro()) <= {"check", "track"}


def test_two_runs_and_a_killed_one_give_the_same_weights_and_figures(finished, tmp_path):
    project = finished[0].copy(tmp_path / "copy")
    expected = hashes(project, "students", "metrics", "teachers")
    project.run(sys.executable, "-m", "dvc", "remove", "track")  # the tracker has tests of its own
    for folder in ("teachers", "students", "metrics", "predictions", "soft_labels"):
        subprocess.run(["rm", "-rf", folder], cwd=project.path / "artifacts", check=True)
    subprocess.run(["rm", "-rf", ".dvc/cache", "dvc.lock"], cwd=project.path, check=True)
    with (project.path / "first.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "dvc", "repro"], cwd=project.path, env=environment(), stdout=log, stderr=log
        )
        killed = kill_a_student(project.path, process)
    assert process.wait(120) != 0
    assert "training.pt" in killed or killed.endswith(".pt")
    project.repro()
    assert hashes(project, "students", "metrics", "teachers") == expected


def kill_a_student(root: Path, process: subprocess.Popen) -> str:
    """Wait for a student's first resume file, then kill -9 its process; returns the file's name."""
    import psutil

    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        files = [path for path in root.glob("artifacts/resume/student_subset-0-*/*.pt") if "partial" not in path.name]
        if files:
            for child in psutil.Process(process.pid).children(recursive=True):
                child.send_signal(signal.SIGKILL)
            return files[0].name
        time.sleep(0.02)
    raise AssertionError("no student began within ten minutes")
