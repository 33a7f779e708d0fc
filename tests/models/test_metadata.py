"""What an ONNX file says of itself comes back as it was written, and nothing else passes for it."""

import json

import pytest

from models.errors import ModelError
from models.metadata import KEY, Metadata, read_metadata

PLAIN = Metadata(
    task="multilabel", classes=("Mass", "Ödem"), image_size=64, channels=1, resize="pad", thresholds=(0.25, 0.5),
    precision="float16", data_source="table", method="roskd", seed=3, data_hash="d" * 64, params_hash="p" * 64,
)  # fmt: skip


def test_it_comes_back():
    assert read_metadata(PLAIN.properties(), "x.onnx") == PLAIN


def test_what_a_later_version_adds_is_left_aside():
    content = json.loads(PLAIN.properties()[KEY]) | {"colour_space": "sRGB"}
    assert read_metadata({KEY: json.dumps(content)}, "x.onnx") == PLAIN


@pytest.mark.parametrize(
    ("properties", "message"),
    [
        ({}, "has no metadata 'roskd', so nothing says what its answers mean; export the student again"),
        ({KEY: "{"}, "cannot be read as JSON"),
        ({KEY: "[]"}, "is no table"),
    ],
)
def test_no_metadata(properties, message):
    with pytest.raises(ModelError, match=rf"x\.onnx: .*{message}"):
        read_metadata(properties, "x.onnx")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": "regression"}, "task is 'regression'"),
        ({"task": ["multiclass"]}, "task is .'multiclass'. in"),
        ({"classes": []}, "classes is .. in"),
        ({"classes": "AB"}, "classes is 'AB'"),
        ({"image_size": 0}, "image_size is 0"),
        ({"image_size": True}, "image_size is True"),
        ({"channels": 2}, "channels is 2"),
        ({"resize": None}, "resize is None"),
        ({"thresholds": ["a", "b"]}, "thresholds is .'a', 'b'. in"),
        ({"thresholds": [0.5]}, "1 thresholds for 2 classes"),
    ],
)
def test_a_fact_that_serving_cannot_go_by(changes, message):
    content = json.loads(PLAIN.properties()[KEY]) | changes
    with pytest.raises(ModelError, match=rf"x\.onnx: {message}"):
        read_metadata({KEY: json.dumps(content)}, "x.onnx")
