"""Encoded images in, class names and probabilities out."""

import io
import logging

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from models.errors import ModelError
from models.pixels import ImageError
from models.predictor import Predictor, _has_gpu


def encoded(colour, format="PNG", size=(20, 10)):
    stream = io.BytesIO()
    Image.new("RGB", size, colour).save(stream, format)
    return stream.getvalue()


def test_multiclass(write_student):
    red, blue = Predictor(*write_student()).predict_bytes([encoded("red"), encoded("blue", "BMP")])
    assert red["label"] == "MEL"
    assert red["probabilities"] == pytest.approx({"MEL": 0.7, "NV": 0.2, "BCC": 0.1}, abs=1e-6)
    assert blue["label"] == "BCC"
    assert blue["probabilities"] == pytest.approx({"MEL": 0.1, "NV": 0.3, "BCC": 0.6}, abs=1e-6)


@pytest.mark.parametrize(
    ("thresholds", "labels"),
    [([0.6, 0.25, 0.3], ["MEL", "NV|BCC", "NV|BCC"]), (None, ["MEL", "", "BCC"])],  # without thresholds: 0.5
)
def test_multilabel(write_student, thresholds, labels):
    predictor = Predictor(*write_student("multilabel", thresholds=thresholds))
    predictions = predictor.predict_bytes([encoded("red"), encoded((0, 255, 0)), encoded("blue")])
    assert [prediction["label"] for prediction in predictions] == labels
    assert predictions[0]["probabilities"] == pytest.approx({"MEL": 0.7, "NV": 0.2, "BCC": 0.1}, abs=1e-6)


def test_a_finding_at_its_threshold_is_called(write_student):
    predictor = Predictor(*write_student("multilabel", thresholds=[0.5, 0.5, 0.5]))
    assert predictor.label(np.array([0.5, 0.4999, 0.5001])) == "MEL|BCC"
    assert predictor.label(np.array([0.0, 0.0, 0.0])) == ""


def test_resizing_follows_the_json(write_student):
    """Half red, half blue, 20 x 10: a centre square holds both in equal parts, and so does the padded image."""
    picture = Image.new("RGB", (20, 10), "red")
    picture.paste("blue", (10, 0, 20, 10))
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    crop = Predictor(*write_student()).pixels([stream.getvalue()])
    pad = Predictor(*write_student(resize="pad")).pixels([stream.getvalue()])
    assert crop.shape == pad.shape == (1, 8, 8, 3)
    assert crop[0, 0].tolist()[0] == [255, 0, 0]
    assert pad[0, 0].tolist()[0] == [0, 0, 0]


def test_many_images_are_those_images(write_student):
    predictor = Predictor(*write_student())
    contents = [encoded("red"), encoded("blue")] * 35
    assert [p["label"] for p in predictor.predict_bytes(contents)] == ["MEL", "BCC"] * 35
    assert predictor.predict_bytes([]) == []


def test_unreadable_image_is_named(write_student):
    with pytest.raises(ImageError, match="image 2 of 3: not an image file"):
        Predictor(*write_student()).predict_bytes([encoded("red"), b"hello", b""])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": 16}, r"takes \[8, 8, 3\] pixels .* says \[16, 16, 3\]"),
        ({"classes": ["MEL", "NV"]}, "answers for 3 classes, but .* 2"),
        ({"thresholds": [0.5]}, "1 thresholds for 3 classes"),
        ({"task": "regression"}, "task is 'regression'"),
        ({"resize": None}, "resize is None"),
        ({"channels": 1}, r"says \[8, 8, 1\]"),
    ],
)
def test_files_that_do_not_belong_together(write_student, changes, message):
    with pytest.raises(ModelError, match=message):
        Predictor(*write_student(**changes))


def test_missing_or_damaged_files(write_student):
    onnx_path, meta_path = write_student()
    with pytest.raises(ModelError, match=r"none\.onnx: cannot be opened"):
        Predictor(onnx_path.with_name("none.onnx"), meta_path)
    onnx_path.write_bytes(b"junk")
    with pytest.raises(ModelError, match=r"student\.onnx: cannot be opened as an ONNX network"):
        Predictor(onnx_path, meta_path)
    meta_path.write_text("{")
    with pytest.raises(ModelError, match=r"student\.json: cannot be read as JSON"):
        Predictor(onnx_path, meta_path)


def test_provider_is_said(write_student, monkeypatch, caplog):
    monkeypatch.setattr("models.predictor._has_gpu", lambda: False)
    with caplog.at_level(logging.INFO, "models.predictor"):
        predictor = Predictor(*write_student())
    assert predictor.provider == "CPUExecutionProvider"
    assert caplog.messages == ["student.onnx computes on CPUExecutionProvider"]


def test_gpu_that_cannot_be_used_is_a_warning(write_student, monkeypatch, caplog):
    plain = onnxruntime.InferenceSession
    asked = []

    def without_cuda(path, providers):
        asked.append(providers)
        return plain(path, providers=["CPUExecutionProvider"])

    monkeypatch.setattr("models.predictor._has_gpu", lambda: True)
    monkeypatch.setattr("onnxruntime.preload_dlls", lambda: None)
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr("onnxruntime.InferenceSession", without_cuda)
    assert Predictor(*write_student()).provider == "CPUExecutionProvider"
    assert asked[0][0] == ("CUDAExecutionProvider", {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"})
    assert "a GPU is there, but onnxruntime cannot use it" in caplog.text


@pytest.mark.gpu
def test_gpu_computes_what_the_cpu_does(write_student, monkeypatch):
    if not _has_gpu():
        pytest.skip("no CUDA device")
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("an onnxruntime without CUDA")
    contents = [encoded("red"), encoded((10, 200, 90))]
    on_gpu = Predictor(*write_student())
    assert on_gpu.provider == "CUDAExecutionProvider"
    monkeypatch.setattr("models.predictor._has_gpu", lambda: False)
    on_cpu = Predictor(*write_student())
    for first, second in zip(on_gpu.predict_bytes(contents), on_cpu.predict_bytes(contents), strict=True):
        assert first["probabilities"] == pytest.approx(second["probabilities"], abs=1e-5)
