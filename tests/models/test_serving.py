"""The served model: its answers and refusals, as a class and over HTTP from a folder that knows nothing of this one."""

import base64
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from types import SimpleNamespace

import mlflow
import numpy as np
import onnxruntime
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from PIL import Image

from models import serving
from models.images import load
from pipeline.runtime import serve


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


@pytest.fixture
def server(write_student, tmp_path, monkeypatch):
    """The model logged to a store of its own and served; yields (URL, path of the ONNX file)."""
    onnx_path, meta_path = write_student()
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setattr(mlflow.tracking.fluent, "_active_experiment_id", None)
    mlflow.set_tracking_uri(uri)
    try:
        experiment = mlflow.create_experiment("serving", artifact_location=(tmp_path / "mlruns").as_uri())
        with mlflow.start_run(experiment_id=experiment):
            info = mlflow.pyfunc.log_model(name="student", **serving.model_spec(onnx_path, meta_path))
    finally:
        mlflow.set_tracking_uri(None)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {name: value for name, value in serve.environment(uri).items() if name != "PYTHONPATH"}
    log = (tmp_path / "server.log").open("w+")
    process = subprocess.Popen(
        serve.command(info.model_uri, port),
        cwd=elsewhere,
        env=environment,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_until_ready(url, process, log)
        yield url, onnx_path
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=30)
        log.close()


def _wait_until_ready(url, process, log):
    for _ in range(240):
        try:
            urllib.request.urlopen(f"{url}/ping", timeout=5).close()
            return
        except OSError:
            time.sleep(0.5)
        if process.poll() is not None:
            break
    log.seek(0)
    pytest.fail(f"the server did not start:\n{log.read()}")


def post(url, body):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(f"{url}/invocations", data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


REFUSED = {
    "broken JSON": (b'{"dataframe_records": [', "valid JSON"),
    "missing column": ({"dataframe_records": [{"picture": RED}]}, "missing inputs ['image']"),
    "no rows": ({"dataframe_split": {"columns": ["image"], "data": []}}, "has no rows"),
    "null": ({"dataframe_records": [{"image": RED}, {"image": None}]}, "image 2 of 2: nothing"),
    "a number": ({"dataframe_records": [{"image": 5}]}, "image 1 of 1: a value of type int"),
    "not base64": (
        {"dataframe_records": [{"image": RED}, {"image": "hello!"}]},
        "image 2 of 2: the text is not base64",
    ),
    "text named .png": ({"dataframe_records": [{"image": NOT_AN_IMAGE}]}, "image 1 of 1: not an image file; JPEG, PNG"),
}


@pytest.mark.slow
def test_served_over_http(server):
    """The model is loaded from its own copy of the code: the server runs elsewhere, without this repository."""
    url, onnx_path = server
    noise = png(Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)))
    status, body = post(url, {"dataframe_records": [{"image": RED}, {"image": text(noise)}]})
    assert status == 200
    first, second = json.loads(body)["predictions"]
    assert first["label"] == "MEL"
    assert first["probabilities"] == pytest.approx({"MEL": 0.7, "NV": 0.2, "BCC": 0.1}, abs=1e-6)

    session = onnxruntime.InferenceSession(onnx_path, providers=["CPUExecutionProvider"])
    pixels = load(noise, size=8, resize="crop", channels=3)
    (expected,) = session.run(["probabilities"], {"pixels": pixels[None]})
    assert list(second["probabilities"]) == ["MEL", "NV", "BCC"]
    assert list(second["probabilities"].values()) == pytest.approx(expected[0].tolist(), abs=1e-6)
    assert second["label"] == ["MEL", "NV", "BCC"][int(expected[0].argmax())]

    for name, (request, message) in REFUSED.items():
        status, body = post(url, request)
        assert status == 400, name
        assert message in json.loads(body)["message"], name
        assert "Traceback" not in body, name
    assert post(url, {"dataframe_records": [{"image": RED}]})[0] == 200  # it still answers


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
