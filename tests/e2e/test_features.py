"""Heads on stored features through `dvc repro`: what comes out, what is shared, and what other weights change."""

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from scipy.special import softmax

from pipeline.params.overlay import overlaid
from tests.e2e.project import Project, make_project, ran

pytestmark = pytest.mark.slow

NETWORK = "timm:test_resnet"
BACKBONE = {"stem": "imagenet", "width": 1.0, "weights": "weights", "train": "head", "head": "mlp", "hidden": 16}
OVERLAY = {
    "teachers": BACKBONE | {"architectures": [NETWORK], "heads": ["linear", 16, 16]},
    "student": BACKBONE | {"architecture": NETWORK},
    "methods": ["baseline_1", "roskd", "roskd_cross", "linear_probe", "knn"],
    "tracking": {"enabled": False},
}


def write_weights(folder: Path, seed: int) -> None:
    """A file of the network's weights, of a seed, its classifier included, as publishers give them."""
    torch.manual_seed(seed)
    folder.mkdir(exist_ok=True)
    save_file(timm.create_model("test_resnet").state_dict(), folder / "test_resnet.safetensors")


def overlay(project: Project, settings: dict) -> None:
    path = project.path / "params.yaml"
    path.write_text(overlaid(path, settings, "the test")[0])


@pytest.fixture(scope="module")
def heads(tmp_path_factory) -> tuple[Project, str]:
    """The finished project, and what `dvc repro` printed."""
    project = make_project(tmp_path_factory.mktemp("heads") / "my project")
    write_weights(project.path / "weights", 0)
    overlay(project, OVERLAY)
    return project, project.repro()


def test_every_view_is_stored_once_for_all_heads(heads):
    project, printed = heads
    store = project.path / "artifacts/store"
    files = sorted(store.glob("features/*/features.npy"))
    assert len(files) == 2 + 2 + 1  # two views of the students, two of the teachers, and the clean images
    assert printed.count("features: timm:test_resnet") == 5
    assert {np.load(path).shape for path in files} == {(160, 96)}
    assert sorted(np.load(path).dtype.name for path in files) == ["float16"] * 4 + ["float32"]  # of the clean images
    names = {"test_resnet-linear", "test_resnet-16", "test_resnet-16.2"}
    weights = project.path / "artifacts/teachers/0/subset"
    assert {path.stem for path in weights.glob("*.safetensors")} == names
    assert set(load_file(weights / "test_resnet-16.safetensors")) == {
        "head.0.weight", "head.0.bias", "head.2.weight", "head.2.bias",
    }  # fmt: skip
    written = json.loads((project.path / "artifacts/features.json").read_text())
    assert written["teachers"] == {NETWORK: written["student"]}
    assert len(written["student"]) == 64


def test_backbone_and_head_are_one_onnx_file_that_answers_as_the_head_does(heads):
    artifacts = heads[0].path / "artifacts"
    session = onnxruntime.InferenceSession(artifacts / "onnx/student.onnx", providers=["CPUExecutionProvider"])
    stored = np.load(artifacts / "predictions/0/roskd-smoothed.npz")["test_logits"]
    split = pd.read_csv(artifacts / "splits/splits.csv")["split"]
    answers = session.run(["probabilities"], {"pixels": np.load(artifacts / "data/images.npy")[split == "test"]})
    probabilities = np.asarray(answers[0])
    difference = np.abs(probabilities - softmax(stored, axis=1)).max()
    assert difference <= 1e-4
    assert difference <= np.ptp(probabilities, axis=0).min() / 50, "far less than images differ"


def test_probes_stand_in_the_table(heads):
    project, printed = heads
    figures = pd.read_csv(project.path / "artifacts/metrics/methods.csv")
    assert {"linear_probe", "knn"} <= set(figures["method"])
    assert (
        "Linear probe on features" in printed
        or "Linear probe" in (project.path / "artifacts/report/table.txt").read_text()
    )


def test_other_weights_at_the_same_path_are_noticed(heads, tmp_path):
    project = heads[0].copy(tmp_path / "copy")
    before = (project.path / "artifacts/metrics/methods.csv").read_text()
    write_weights(project.path / "weights", 1)
    again = project.repro()
    assert {"features", "teacher_subset@0", "soft_labels_subset@0", "student_plain@0", "export"} <= ran(again)
    assert again.count("features: timm:test_resnet") == 5
    assert (project.path / "artifacts/metrics/methods.csv").read_text() != before


def test_a_file_of_other_weights_stops_check_before_anything_is_removed(heads, tmp_path):
    project = heads[0].copy(tmp_path / "copy")
    save_file({"a": torch.zeros(1)}, project.path / "weights/test_resnet.safetensors")
    printed = project.run("python", "-m", "pipeline.stages", "preset", ok=False)
    assert "test_resnet.safetensors: are not those of timm:test_resnet. missing: conv1" in printed
    assert (project.path / "artifacts/onnx/student.onnx").is_file()
