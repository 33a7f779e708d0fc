"""The served model: its answers and refusals, as a class and from a folder that knows nothing of this one."""

import base64
import io
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from PIL import Image

from models import serving


def png(picture):
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()


def text(content):
    return base64.b64encode(content).decode()


RED = text(png(Image.new("RGB", (20, 10), "red")))
NOT_AN_IMAGE = text(b"sample_id,label\n1,NV\n")


@pytest.fixture
def served(write_student):
    model = serving.ServedStudent()
    model.load_context(SimpleNamespace(artifacts={"onnx": str(write_student())}, model_config={"version": "roskd-x/7"}))
    return model


def test_answer(served):
    wrapped = "\n".join(RED[i : i + 76] for i in range(0, len(RED), 76))  # as the base64 command writes it
    answer = served.predict(None, pd.DataFrame({"image": [RED, wrapped]}))
    assert answer["label"].tolist() == ["MEL", "MEL"]
    assert answer["probabilities"][1] == pytest.approx({"MEL": 0.7, "NV": 0.2, "BCC": 0.1}, abs=1e-6)
    assert answer["model_version"].tolist() == ["roskd-x/7", "roskd-x/7"]


@pytest.mark.parametrize("shape", [[10, 20, 3], (10, 20, 3), np.array([10, 20, 3])], ids=["list", "tuple", "array"])
def test_raw_pixels(served, shape):
    blue = text(bytes([0, 0, 255]) * 200)
    answer = served.predict(None, pd.DataFrame({"image": [RED, blue], "shape": [None, shape]}))
    assert answer["label"].tolist() == ["MEL", "BCC"]


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ([10, 20, 1], r"image 1 of 1: its shape \[10, 20, 1\] needs 200 bytes of uint8 pixels, but 600 are there"),
        ([10, 20], r"image 1 of 1: its shape is not \[height, width, channels\]"),
        ([0, 20, 3], "its shape is not"),
        ([-10, -20, 3], "its shape is not"),
        ([10, 30, 2], "its shape is not"),
        (["10", 20, 3], "its shape is not"),
        ([True, 200, 3], "its shape is not"),
        ("10x20x3", "its shape is not"),
        ([100_000, 100_000, 3], "more than the 64,000,000 allowed"),
    ],
)
def test_a_shape_that_is_not_the_pixels(served, shape, message):
    with pytest.raises(MlflowException, match=message) as caught:
        served.predict(None, pd.DataFrame({"image": [text(bytes(600))], "shape": [shape]}))
    assert caught.value.get_http_status_code() == 400


def test_a_registered_model_knows_its_version_from_where_it_is(write_student, tmp_path):
    onnx_path = write_student()
    context = SimpleNamespace(artifacts={"onnx": str(onnx_path)}, model_config=None)
    model = serving.ServedStudent()
    model.load_context(context)
    assert model.version == ""
    (tmp_path / "registered_model_meta").write_text("model_name: roskd-phantom\nmodel_version: '12'\n")
    model.load_context(context)
    assert model.version == "roskd-phantom/12"


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pd.DataFrame({"picture": [RED]}), "needs a column `image`"),
        (pd.DataFrame({"image": []}), "has no rows"),
        (pd.DataFrame({"image": [RED, None]}), "image 2 of 2: nothing, where base64"),
        (pd.DataFrame({"image": [np.nan]}), "image 1 of 1: nothing"),
        (pd.DataFrame({"image": [RED, 5]}, dtype=object), "image 2 of 2: a value of type int"),
        (pd.DataFrame({"image": [[1, 2]]}), "image 1 of 1: a value of type list"),
        (pd.DataFrame({"image": [RED, "hello!"]}), "image 2 of 2: the text is not base64"),
        (pd.DataFrame({"image": ["é"]}), "image 1 of 1: the text is not base64"),
        (pd.DataFrame({"image": [""]}), "image 1 of 1: the file is empty"),
        (pd.DataFrame({"image": [RED, RED, NOT_AN_IMAGE]}), "image 3 of 3: not an image file"),
        (pd.DataFrame({"image": [RED[:60]]}), "image 1 of 1: .*damaged or cut off"),
    ],
)
def test_mistake_is_a_400_that_names_the_row(served, frame, message):
    with pytest.raises(MlflowException, match=message) as caught:
        served.predict(None, frame)
    assert caught.value.get_http_status_code() == 400


def test_our_own_mistake_is_a_500_without_details(served, monkeypatch, caplog):
    def fail(pixels):
        raise KeyError("secret")

    monkeypatch.setattr(served.predictor, "probabilities", fail)
    with pytest.raises(MlflowException) as caught:
        served.predict(None, pd.DataFrame({"image": [RED]}))
    assert caught.value.get_http_status_code() == 500
    assert "secret" not in caught.value.serialize_as_json()
    assert "secret" in caplog.text


def test_requirements_are_pinned_and_without_torch(write_student):
    requirements = serving.model_spec(write_student())["pip_requirements"]
    names = [requirement.split("==")[0] for requirement in requirements]
    assert names[:-1] == ["mlflow", "numpy", "pandas", "pillow", "pydicom"]
    assert names[-1] in ("onnxruntime-gpu[cuda,cudnn]", "onnxruntime")
    assert all("==" in requirement for requirement in requirements)


@pytest.mark.slow
def test_loads_without_this_repository(write_student, tmp_path):
    """A fresh interpreter in another folder finds all it needs in the saved model, and torch is not among it."""
    onnx_path = write_student("multilabel")
    (onnx_path.parent / "config.pbtxt").write_text("max_batch_size: 32")
    specification = serving.model_spec(onnx_path, onnx_path.parent / "config.pbtxt")
    mlflow.pyfunc.save_model(tmp_path / "model", **specification)
    script = (
        "import sys, json, mlflow, pandas\n"
        f"model = mlflow.pyfunc.load_model({str(tmp_path / 'model')!r})\n"
        f"answer = model.predict(pandas.DataFrame({{'image': [{RED!r}]}}))\n"
        "print(json.dumps([answer.label[0], sys.modules['models'].__file__, 'torch' in sys.modules]))\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert (tmp_path / "model/artifacts/config.pbtxt").read_text() == "max_batch_size: 32"
    label, package, imported_torch = json.loads(result.stdout.splitlines()[-1])
    assert label == "MEL"
    assert package == str(tmp_path / "model/code/models/__init__.py")
    assert not imported_torch
