"""The real pipeline through `dvc repro` on a tiny phantom: what comes out, what runs again, what survives."""

import json
import sys

import numpy as np
import onnxruntime
import pandas as pd
import pytest

from models.predictor import Predictor
from pipeline.common.files import sha256_file
from tests.e2e.project import Project, make_project, ran

pytestmark = pytest.mark.slow

RUNS = {
    "baseline_1": "plain",
    "baseline_2": "full",
    "baseline_3": "full",
    "baseline_3_same": "subset",
    "baseline_4": "subset",
    "baseline_5": "subset",
    "roskd_unseen": "subset",
}
TEACHERS = ["resnet18", "mobilenet_v2"]
EVERY_STAGE = {
    "check", "code", "prepare", "split", "noise", "subsets", "features", "external", "evaluate", "audit", "export",
    "report", "track", "shift@0-roskd", "shift@0-baseline_3", "student_plain@0", "student_full@0", "student_subset@0",
    "soft_labels_full@0", "soft_labels_subset@0", "teacher_full@0", "teacher_subset@0", "landscape@0-roskd",
    "landscape@0-baseline_3", "robustness@0-roskd", "robustness@0-baseline_3", "robustness_compare",
}  # fmt: skip
ALWAYS = {"features", "external", "track"}
"""What DVC runs every time: a file of pretrained weights, an external table, or the tracker, may have changed."""
OUTPUTS = ("code", "data", "splits", "teachers", "soft_labels", "students", "predictions", "metrics", "landscape")


def hashes(project: Project, *folders: str) -> dict[str, str]:
    """{path: SHA-256} of every file in `folders` of artifacts/."""
    root = project.path / "artifacts"
    return {
        str(path.relative_to(root)): sha256_file(path)
        for folder in folders
        for path in sorted((root / folder).rglob("*"))
        if path.is_file()
    }


def test_every_stage_ran_and_left_what_the_contract_names(finished):
    project, printed = finished
    assert ran(printed) == EVERY_STAGE
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
    for run, group in RUNS.items():
        margins = {"margins.npz"} if run == "baseline_1" else set()
        assert {path.name for path in (artifacts / f"students/0/{group}/{run}").iterdir()} == margins | {
            "history.csv", "last.safetensors", "predictions.npz", "selected.safetensors", "smoothed.safetensors",
        }  # fmt: skip
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
    unfinished = [path for path in (artifacts / "store").rglob(".*") if not path.name.endswith(".lock")]
    assert unfinished == []


def test_every_label_is_judged_by_teachers_that_never_saw_it(finished):
    artifacts = finished[0].path / "artifacts"
    suspects = pd.read_csv(artifacts / "audit/suspects.csv")
    split = pd.read_csv(artifacts / "splits/splits.csv").set_index("sample_id")["split"]
    assert len(suspects) + json.loads((artifacts / "audit/summary.json").read_text())["without_unseen_teacher"][
        "train"
    ] == int((split != "test").sum())
    assert suspects["score"].is_monotonic_increasing
    assert (split[suspects["sample_id"]] != "test").all()
    assert "Label audit: phantom" in (artifacts / "audit/index.html").read_text()
    assert "average precision" in finished[1]


def test_the_loss_is_drawn_around_two_students(finished):
    for method in ("roskd", "baseline_3"):
        folder = finished[0].path / f"artifacts/landscape/0/{method}"
        assert {path.name for path in folder.iterdir()} == {"surface.csv", "slices.csv", "sharpness.json"}
        surface, slices = pd.read_csv(folder / "surface.csv"), pd.read_csv(folder / "slices.csv")
        sharpness = json.loads((folder / "sharpness.json").read_text())
        assert (len(surface), len(slices), sharpness["images"]) == (9, 18, 16)
        centre = surface[(surface["step_1"] == 0) & (surface["step_2"] == 0)]["loss"].item()
        assert sharpness["loss"] == pytest.approx(centre, rel=1e-6)
        assert sharpness["trace"]["draws"] == 3


def test_the_table_and_the_page_show_every_method(finished):
    project, printed = finished
    for title in ("Baseline I ", "Baseline II ", "Baseline III ", "Baseline IV ", "Baseline V ", "RoS-KD "):
        assert title in printed
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
    assert labels["flipped"][split != "test"].mean() == pytest.approx(0.4, abs=0.13)
    assert split.groupby(groups).nunique().max() == 1


def test_the_onnx_file_answers_as_the_smoothed_student(finished):
    artifacts = finished[0].path / "artifacts"
    meta = json.loads((artifacts / "onnx/student.json").read_text())
    written = {path.name for path in (artifacts / "onnx").iterdir()}
    assert written - {"student_float16.onnx"} == {"config.pbtxt", "student.json", "student.onnx"}
    assert ("student_float16.onnx" in written) is meta["float16"]["kept"]
    session = onnxruntime.InferenceSession(artifacts / "onnx/student.onnx", providers=["CPUExecutionProvider"])
    stored = np.load(artifacts / "predictions/0/roskd-smoothed.npz")
    split = pd.read_csv(artifacts / "splits/splits.csv")["split"]
    pixels = np.load(artifacts / "data/images.npy")[split == "test"]
    probabilities, logits = session.run(["probabilities", "logits"], {"pixels": pixels})
    assert np.abs(logits - stored["test_logits"]).max() <= 1e-4
    assert probabilities.sum(axis=1) == pytest.approx(np.ones(len(pixels)), abs=1e-5)
    assert (meta["classes"][0], meta["method"]) == ("MEL", "roskd")
    answers = Predictor(artifacts / "onnx/student.onnx").predict(list(pixels))
    called = stored["test_logits"].argmax(axis=1)
    assert [answer["label"] for answer in answers] == [meta["classes"][c] for c in called]


def test_a_run_without_dvc_and_unbroken_gives_the_same_bytes_as_the_killed_one(finished, tmp_path):
    project = make_project(tmp_path / "copy")
    project.change("  enabled: true ", "  enabled: false ")
    project.run(sys.executable, "-m", "pipeline.stages", "all")
    assert hashes(project, *OUTPUTS) == hashes(finished[0], *OUTPUTS)
    before = hashes(project, *OUTPUTS)
    project.change(
        "\nmethods: [baseline_1, baseline_2, baseline_3, baseline_3_same, baseline_4, baseline_5, roskd_unseen, roskd]",
        "\nmethods: [roskd]",
    )
    printed = project.run(sys.executable, "-m", "pipeline.stages", "all")
    assert "epochs, loss" not in printed  # nothing is trained: the store has it
    after = hashes(project, *OUTPUTS)
    kept = {name for name in after if name.startswith(("teachers", "soft_labels", "students"))}
    assert {name.split("/")[2] for name in kept} == {"subset"}
    assert {name.split("/")[3] for name in kept if name.startswith("students")} == {"baseline_5"}
    assert all(after[name] == before[name] for name in kept)
    assert {name for name in after if name.startswith("predictions")} == {"predictions/0/roskd-smoothed.npz"}
    assert set(pd.read_csv(project.path / "artifacts/metrics/students.csv")["method"]) == {"roskd"}


def runs_of(project: Project) -> pd.DataFrame:
    code = (
        "import mlflow; mlflow.set_tracking_uri('sqlite:///mlflow.db'); "
        "runs = mlflow.search_runs(search_all_experiments=True); "
        "versions = mlflow.MlflowClient().get_registered_model('roskd-phantom').aliases; "
        "runs.to_csv('runs.csv'); print(versions)"
    )
    printed = project.run(sys.executable, "-c", code)
    assert "'champion': 1" in printed
    return pd.read_csv(project.path / "runs.csv")


def test_runs_are_tracked_live_and_a_lost_database_is_restored_without_training(finished, tmp_path):
    project = finished[0].copy(tmp_path / "copy")
    before = runs_of(project)
    assert {*RUNS, "roskd"} <= set(before["tags.mlflow.runName"])
    live = before[before["tags.method"].isin(RUNS)]
    reused = live["tags.reused"].notna().sum() if "tags.reused" in live else 0
    assert reused <= 1  # the killed student's run may have been made from its files
    assert before[before["tags.method"].isin([*RUNS, "roskd"])]["metrics.test/f1_macro"].notna().all()
    (project.path / "mlflow.db").unlink()
    printed = project.repro()
    assert ran(printed) == ALWAYS
    after = runs_of(project)
    columns = ["tags.mlflow.runName", "metrics.test/f1_macro", "metrics.val/f1_macro"]
    restored, lived = (table[columns].sort_values(columns[0]).reset_index(drop=True) for table in (after, before))
    pd.testing.assert_frame_equal(restored, lived)


def test_what_runs_again_is_what_a_change_decides(finished, tmp_path):
    """One project through four changes: none, a comment and a docstring, a plot, and the temperature."""
    project = finished[0].copy(tmp_path / "copy")
    project.change("  enabled: true ", "  enabled: false ")  # the tracker has tests of its own
    always = {"check"} | ALWAYS
    assert ran(project.repro()) - always == set()
    shown = project.run(sys.executable, "-m", "dvc", "metrics", "show", "--json")
    figures = json.loads(shown)[""]["data"]["artifacts/metrics/summary.json"]["data"]["test"]
    assert set(figures) == {*RUNS, "roskd"}
    project.change('"""The one training loop: ', '"""The only training loop: ', "pipeline/training/loop.py")
    path = project.path / "pipeline/report/style.py"
    path.write_text(path.read_text() + "\n# a new colour\n")
    assert ran(project.repro()) - always == {"code"}
    path.write_text(path.read_text() + '\nANOTHER = "#123456"\n')
    assert ran(project.repro()) - always == {"code", "report"}
    before = hashes(project, *OUTPUTS)
    project.change("tau: 4.0 ", "tau: 2.0 ")
    assert ran(project.repro()) == {
        "check", *ALWAYS, "student_full@0", "student_subset@0", "evaluate", "audit", "shift@0-roskd",
        "shift@0-baseline_3", "landscape@0-roskd", "landscape@0-baseline_3", "robustness@0-roskd",
        "robustness@0-baseline_3", "robustness_compare", "export", "report",
    }  # fmt: skip
    after = hashes(project, *OUTPUTS)
    changed = {name for name in before if before[name] != after[name]}
    taught = {f"students/0/{group}/{run}/last.safetensors" for run, group in RUNS.items() if group != "plain"}
    assert taught <= changed
    untouched = ("code", "data", "splits", "teachers", "soft", "students/0/plain")
    assert [name for name in changed if name.startswith(untouched)] == []
    project.run(sys.executable, "-m", "dvc", "plots", "show")
    shown = (project.path / "dvc_plots/index.html").read_text()
    for title, value in (("macro F1 on the test split", '"method": "roskd"'), ("validation by epoch", '"epoch": "2"')):
        assert title in shown
        assert value in shown


def would_run(project: Project) -> set[str]:
    """The stages whose own inputs changed, and all that depend on them."""
    status = json.loads(project.run(sys.executable, "-m", "dvc", "status", "--json"))
    dot = project.run(sys.executable, "-m", "dvc", "dag", "--dot")
    edges = [tuple(part.strip(' ";') for part in line.split("->")) for line in dot.splitlines() if "->" in line]
    found = set(status) - ALWAYS
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


def test_a_mistake_stops_before_anything_is_deleted(finished, tmp_path):
    project = finished[0].copy(tmp_path / "copy")
    before = hashes(project, ".")
    project.change("path: pipeline/data/phantom.py", "path: pipeline/data/nothing.py")
    assert "nothing.py" in project.run(sys.executable, "-m", "pipeline.stages", "preset", ok=False)
    project.repro(ok=False)
    project.change("path: pipeline/data/nothing.py", "path: pipeline/data/phantom.py")
    project.change("  tau: 4.0 ", "  tau: -1 ")
    printed = project.repro(ok=False)
    assert "params.yaml: distillation.tau is -1" in printed
    assert hashes(project, ".") == before


def test_a_lost_store_costs_nothing_while_the_artefacts_are_there(finished, tmp_path):
    """What DVC keeps is enough: another machine that pulls it trains only what its parameters change."""
    project = finished[0].copy(tmp_path / "copy")
    project.change("  enabled: true ", "  enabled: false ")
    project.run("rm", "-rf", str(project.path / "artifacts/store"))
    project.change("alpha: 0.9 ", "alpha: 0.5 ")
    stages = ("student_full@0", "student_subset@0")
    printed = project.run(sys.executable, "-m", "dvc", "repro", "--single-item", "check", *stages)
    assert "student baseline_3, seed 0: 2 of 2 epochs" in printed
    assert "teacher" not in printed.replace("artifacts/teachers", "")
    assert not (project.path / "artifacts/store/teachers").exists()
