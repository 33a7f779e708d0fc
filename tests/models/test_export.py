"""The ONNX file answers as PyTorch does, for any batch, and depends on nothing but the network."""

import copy
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from models.classifier import Classifier
from models.export import export_onnx, max_logit_difference, onnx_logits
from models.metadata import Metadata, read_metadata
from models.networks import build
from models.providers import CPU, Compute

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


def metadata(task="multiclass", channels=3, **changes):
    names = tuple(f"class {i}" for i in range(CLASSES))
    return Metadata(task=task, classes=names, image_size=32, channels=channels, resize="crop", **changes)


@pytest.fixture(scope="module", params=[("multiclass", 3), ("multilabel", 1)], ids=["multiclass-3", "multilabel-1"])
def exported(request, tmp_path_factory) -> tuple[Classifier, Path, str, int]:
    task, channels = request.param
    model, path = trained(), tmp_path_factory.mktemp("onnx") / "student.onnx"
    export_onnx(model, path, metadata(task, channels))
    return model, path, task, channels


@pytest.mark.parametrize("count", [1, 2, 5, 64])
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


def test_the_file_says_what_it_is(exported):
    _, path, task, channels = exported
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert read_metadata(session.get_modelmeta().custom_metadata_map, "x") == metadata(task, channels)
    assert [(one.domain, one.version) for one in onnx.load(path).opset_import] == [("", 20)]


def test_float16_is_half_as_large_and_answers_nearly_the_same(exported, tmp_path):
    model, path, task, channels = exported
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    export_onnx(model, tmp_path / "half.onnx", metadata(task, channels, precision="float16"))
    assert all(value.equal(weights[name]) for name, value in model.state_dict().items())
    assert (tmp_path / "half.onnx").stat().st_size < 0.55 * path.stat().st_size
    pixels = images(64, channels)
    full, half = (onnx_logits(one, pixels, Compute((CPU,)), 7) for one in (path, tmp_path / "half.onnx"))
    assert full.dtype == half.dtype == np.float32
    assert 0 < np.abs(half - full).max() < 0.01


def test_one_valid_file_without_paths(exported):
    _, path, _, _ = exported
    assert [entry.name for entry in path.parent.iterdir()] == ["student.onnx"]
    onnx.checker.check_model(path, full_check=True)
    assert b"site-packages" not in path.read_bytes()
    assert str(Path.cwd()).encode() not in path.read_bytes()


def test_equal_networks_give_equal_bytes_and_keep_their_mode(exported, tmp_path):
    _, path, task, _ = exported
    again = trained().train()
    export_onnx(again, tmp_path / "again.onnx", metadata(task, exported[3]))
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
