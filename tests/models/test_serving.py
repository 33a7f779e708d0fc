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
    onnx_path, meta_path = write_student()
    model = serving.ServedStudent()
    model.load_context(SimpleNamespace(artifacts={"onnx": str(onnx_path), "meta": str(meta_path)}))
    return model


def test_answer(served):
    wrapped = "\n".join(RED[i : i + 76] for i in range(0, len(RED), 76))  # as the base64 command writes it
    answer = served.predict(None, pd.DataFrame({"image": [RED, wrapped]}))
    assert answer["label"].tolist() == ["MEL", "MEL"]
    assert answer["probabilities"][1] == pytest.approx({"MEL": 0.7, "NV": 0.2, "BCC": 0.1}, abs=1e-6)


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
    requirements = serving.model_spec(*write_student())["pip_requirements"]
    names = [requirement.split("==")[0] for requirement in requirements]
    assert names[:-1] == ["mlflow", "numpy", "pandas", "pillow", "pydicom"]
    assert names[-1] in ("onnxruntime-gpu[cuda,cudnn]", "onnxruntime")
    assert all("==" in requirement for requirement in requirements)


@pytest.mark.slow
def test_loads_without_this_repository(write_student, tmp_path):
    """A fresh interpreter in another folder finds all it needs in the saved model, and torch is not among it."""
    onnx_path, meta_path = write_student("multilabel")
    specification = serving.model_spec(onnx_path, meta_path)
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
    label, package, imported_torch = json.loads(result.stdout.splitlines()[-1])
    assert label == "MEL"
    assert package == str(tmp_path / "model/code/models/__init__.py")
    assert not imported_torch
