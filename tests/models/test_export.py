"""The ONNX file answers as PyTorch does, for any batch, and depends on nothing but the network."""

import copy
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from models.classifier import Classifier
from models.export import export_onnx, max_logit_difference
from models.networks import build

CLASSES = 3


def trained(seed=0):
    """A network whose BatchNorm statistics and logits are of a trained one's size."""
    torch.manual_seed(seed)
    model = build("resnet18", num_classes=CLASSES)
    for _ in range(3):
        model(torch.rand(16, 3, 32, 32))
    return model


def images(count, channels):
    return np.random.default_rng(count).integers(0, 256, (count, 32, 32, channels), np.uint8)


@pytest.fixture(scope="module", params=[("multiclass", 3), ("multilabel", 1)], ids=["multiclass-3", "multilabel-1"])
def exported(request, tmp_path_factory) -> tuple[Classifier, Path, str, int]:
    task, channels = request.param
    model, path = trained(), tmp_path_factory.mktemp("onnx") / "student.onnx"
    export_onnx(model, path, task=task, image_size=32, channels=channels)
    return model, path, task, channels


@pytest.mark.parametrize("count", [1, 3, 64])
def test_answers_are_those_of_pytorch(exported, count):
    model, path, task, channels = exported
    pixels = images(count, channels)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    probabilities, logits = session.run(["probabilities", "logits"], {"pixels": pixels})
    with torch.inference_mode():
        expected = model.eval()(torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255)
    np.testing.assert_allclose(logits, expected, atol=1e-4, rtol=0)
    apply = torch.sigmoid if task == "multilabel" else lambda logits: torch.softmax(logits, dim=1)
    np.testing.assert_allclose(probabilities, apply(expected), atol=1e-5, rtol=0)


def test_names_types_and_shapes(exported):
    _, path, _, channels = exported
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    described = [(value.name, value.type, value.shape) for value in session.get_inputs() + session.get_outputs()]
    assert described == [
        ("pixels", "tensor(uint8)", ["batch", 32, 32, channels]),
        ("probabilities", "tensor(float)", ["batch", CLASSES]),
        ("logits", "tensor(float)", ["batch", CLASSES]),
    ]


def test_one_valid_file_without_paths(exported):
    _, path, _, _ = exported
    assert [entry.name for entry in path.parent.iterdir()] == ["student.onnx"]
    onnx.checker.check_model(path, full_check=True)
    assert b"site-packages" not in path.read_bytes()
    assert str(Path.cwd()).encode() not in path.read_bytes()


def test_equal_networks_give_equal_bytes_and_keep_their_mode(exported, tmp_path):
    _, path, task, channels = exported
    again = trained().train()
    export_onnx(again, tmp_path / "again.onnx", task=task, image_size=32, channels=channels)
    assert (tmp_path / "again.onnx").read_bytes() == path.read_bytes()
    assert again.training
    assert again.backbone.bn1.training


def test_largest_difference(exported):
    """The last of several batches counts, and so does NaN."""
    model, path, _, channels = exported
    model, pixels = copy.deepcopy(model), images(5, channels)
    assert max_logit_difference(model, path, pixels, batch_size=2) <= 1e-4
    bias = model.head.bias
    with torch.no_grad():
        bias[1] += 2
        assert max_logit_difference(model, path, pixels, batch_size=2) == pytest.approx(2, abs=1e-4)
        bias[1] = torch.nan
        assert np.isnan(max_logit_difference(model, path, pixels, batch_size=2))
