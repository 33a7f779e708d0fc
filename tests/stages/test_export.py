"""Stage export: the files of onnx/, what they say, and when the float16 file is kept."""

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch

from models.classifier import save_weights
from models.metadata import read_metadata
from models.networks import build
from pipeline.common.errors import UserError
from pipeline.common.layout import Layout
from pipeline.evaluation.predictions import write_logits
from pipeline.stages import export
from tests.data.made_files import write_prepared, write_split

N, SIZE, CLASSES = 60, 32, ("A", "B", "C")


@pytest.fixture
def project(tmp_path, make_params):
    """A student of three classes, trained by nobody, on noise; project(task) returns its parameters and layout."""

    def write(task: str):
        several = task == "multilabel"
        params = make_params(
            task=task, seeds=[2, 0], methods=["baseline_1"], data={"image_size": SIZE, "resize": "pad"},
            student={"architecture": "resnet18", "width": 0.125}, noise={"kind": "none"},
            views={"preset": "none"},
        )  # fmt: skip
        layout = Layout(tmp_path / "artifacts")
        rng = np.random.default_rng(0)
        labels = [CLASSES[i % 3] for i in range(N)]
        write_prepared(layout, CLASSES, labels, images=rng.integers(0, 256, (N, SIZE, SIZE, 1), np.uint8))
        write_split(layout, np.repeat(["train", "val", "test"], N // 3))
        ids = [f"s{i}" for i in range(N)]
        pd.DataFrame({"sample_id": ids, "given": labels, "flipped": 0}).to_csv(layout.labels, index=False)
        torch.manual_seed(0)
        network = params.student_network
        model = build(network.architecture, num_classes=3, weights=None, **network.layers)
        weights = layout.student_weights(2, None, "baseline_1", "last")
        weights.parent.mkdir(parents=True)
        save_weights(model.state_dict(), weights)
        if several:
            of_val = np.where(np.arange(3) == np.arange(20, 40)[:, None] % 3, 2.0, -1.0).astype(np.float32)
            write_logits(layout.student_predictions(2, None, "baseline_1"), {"last": {"val": of_val}})
        return params, layout

    return write


def files(layout: Layout) -> list[str]:
    return sorted(path.name for path in layout.onnx.parent.iterdir())


def said_by(path: Path):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return read_metadata(session.get_modelmeta().custom_metadata_map, str(path))


def test_several_findings(project):
    params, layout = project("multilabel")
    export.run(params, layout)
    assert files(layout) == ["config.pbtxt", "student.json", "student.onnx", "student_float16.onnx"]
    said, half = said_by(layout.onnx), said_by(layout.onnx_half)
    assert (said.task, said.classes, said.image_size, said.channels) == ("multilabel", CLASSES, SIZE, 1)
    assert (said.resize, said.method, said.seed, said.data_source) == ("pad", "baseline_1", 2, "phantom")
    assert said.thresholds == pytest.approx([1 / (1 + np.exp(-2))] * 3)  # the lowest that calls the true ones alone
    assert said.data_hash == "0" * 64
    assert (said.precision, half.precision) == ("float32", "float16")
    written = json.loads(layout.onnx_meta.read_text())
    assert written["params_hash"] == said.params_hash
    assert written["float16"]["kept"] is True
    assert "dims: [ 32, 32, 1 ]" in layout.triton.read_text()


def test_a_float16_file_that_is_worse_is_not_left_there(project, monkeypatch, capsys):
    params, layout = project("multiclass")
    export.run(params, layout)
    assert layout.onnx_half.name in files(layout)
    plain = export.onnx_logits
    worse = [lambda *a: plain(*a), lambda *a: -plain(*a)]
    monkeypatch.setattr(export, "onnx_logits", lambda *arguments: worse.pop(0)(*arguments))
    export.run(params, layout)
    assert files(layout) == ["config.pbtxt", "student.json", "student.onnx"]
    found = json.loads(layout.onnx_meta.read_text())["float16"]
    assert found["kept"] is (found["auroc_macro_float32"] - found["auroc_macro_float16"] < 0.001)
    assert found["kept"] is False
    figures = f"{found['auroc_macro_float32']:.4f} in float32, {found['auroc_macro_float16']:.4f} in float16"
    assert f"no float16 file is kept: AUROC on validation {figures}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("full", "half", "expected"),
    [(0.9, 0.9, True), (0.9, 0.95, True), (0.9, 0.8991, True), (0.9, 0.8989, False), (0.9, np.nan, False),
     (np.nan, np.nan, False)],
)  # fmt: skip
def test_how_much_auroc_may_fall(full, half, expected):
    assert export.is_as_good(full, half) is expected


def test_an_onnx_file_that_answers_differently_is_refused(project, monkeypatch):
    params, layout = project("multiclass")
    monkeypatch.setattr(export, "max_logit_difference", lambda *arguments: float("nan"))
    with pytest.raises(UserError, match="ONNX and PyTorch differ by nan in a logit"):
        export.run(params, layout)
    assert not layout.onnx.exists()


def test_what_decides_a_student_is_not_what_decides_others(make_params):
    plain = export.decides(make_params(), "roskd")
    assert export.decides(make_params(rivals={"gce_q": 0.5}, seeds=[0, 1], serving={"workers": 2}), "roskd") == plain
    assert export.decides(make_params(distillation={"tau": 1.0}), "roskd") != plain
    assert export.decides(make_params(seeds=[1]), "roskd") != plain
    assert export.decides(make_params(rivals={"gce_q": 0.5}), "gce") != export.decides(make_params(), "gce")
