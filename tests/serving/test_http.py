"""A registered student over HTTP: behind the guard, and with plain `mlflow models serve`."""

import base64
import io
import json
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple

import mlflow
import numpy as np
import onnxruntime
import psutil
import pytest
from PIL import Image

from benchmarks.served import ask, free_port, running
from models import serving
from models.images import load
from models.providers import has_gpu
from pipeline.params.file import load as load_params
from pipeline.serving import server
from tests.conftest import REPOSITORY


def encoded(picture: Image.Image) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()


def text(content: bytes) -> str:
    return base64.b64encode(content).decode()


RED = text(encoded(Image.new("RGB", (20, 10), "red")))
GOOD = json.dumps({"instances": [{"image": RED}]}).encode()


class Logged(NamedTuple):
    """A model in a store of its own."""

    uri: str
    store: str
    onnx: Path


@pytest.fixture
def logged(write_student, tmp_path, monkeypatch) -> Logged:
    onnx_path = write_student()
    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setattr(mlflow.tracking.fluent, "_active_experiment_id", None)
    mlflow.set_tracking_uri(store)
    try:
        experiment = mlflow.create_experiment("serving", artifact_location=(tmp_path / "mlruns").as_uri())
        with mlflow.start_run(experiment_id=experiment):
            info = mlflow.pyfunc.log_model(name="student", **serving.model_spec(onnx_path))
    finally:
        mlflow.set_tracking_uri(None)
    return Logged(info.model_uri, store, onnx_path)


@pytest.fixture
def port() -> int:
    return free_port()


def environment(logged: Logged) -> dict[str, str]:
    return server.environment(logged.uri, logged.store, load_params().serving)


def records(*images: object) -> bytes:
    return json.dumps({"dataframe_records": [{"image": image} for image in images]}).encode()


FORMS = (
    lambda *images: {"instances": [{"image": image} for image in images]},
    lambda *images: {"dataframe_records": [{"id": 5, "image": image} for image in images]},
    lambda *images: {"inputs": {"image": list(images)}},
    lambda *images: {"dataframe_split": {"columns": ["id", "image"], "data": [[7, image] for image in images]}},
)
"""Requests of MLflow's protocol; other columns are left aside."""
NOT_AN_IMAGE = text(b"sample_id,label\n1,NV\n")
REFUSED = {
    "broken JSON": (b'{"dataframe_records": [', 400, "not valid JSON"),
    "deep JSON": (b"[" * 500 + b"1" + b"]" * 500, 400, "exactly one of instances"),
    "JSON deeper than Python reads": (b'{"a":' * 2000 + b"1" + b"}" * 2000, 400, "nested too deeply"),
    "100,000 brackets": (b"[" * 100_000, 400, "more values than 256 images need"),
    "a number of 5,000 digits": (b'{"instances": ' + b"1" * 5000 + b"}", 400, "a number that cannot be read"),
    "no UTF-8": (b'{"instances": "\xff\xfe"}', 400, "text or a number that cannot be read"),
    "two formats": (b'{"instances": [], "inputs": []}', 400, "exactly one of instances"),
    "missing column": (b'{"dataframe_records": [{"picture": "SECRET"}]}', 400, "image 1 of 1: needs the key `image`"),
    "text for a list": (b'{"instances": "SECRET"}', 400, "instances needs a list"),
    "columns of several lengths": (
        json.dumps({"inputs": {"a": ["SECRET"], "image": ["x"] * 300}}).encode(),
        413,
        "300 images in one request",
    ),
    "text for many rows": (
        json.dumps({"dataframe_split": {"columns": ["image"], "index": list(range(600)), "data": RED}}).encode(),
        400,
        "dataframe_split needs a list",
    ),
    "a row that is too short": (
        json.dumps({"dataframe_split": {"columns": ["a", "image"], "data": [["SECRET"]]}}).encode(),
        400,
        "image 1 of 1: needs the key `image`",
    ),
    "no rows": (b'{"dataframe_split": {"columns": ["image"], "data": []}}', 400, "has no rows"),
    "a shape of other pixels": (
        json.dumps({"instances": [{"image": RED, "shape": [8, 8, 3]}]}).encode(),
        400,
        "image 1 of 1: its shape [8, 8, 3] needs 192 bytes of uint8 pixels",
    ),
    "null": (records(RED, None), 400, "image 2 of 2: nothing"),
    "a number": (records(5), 400, "image 1 of 1: a value of type int"),
    "not base64": (records(RED, "SECRET!"), 400, "image 2 of 2: the text is not base64"),
    "text named .png": (records(NOT_AN_IMAGE), 400, "image 1 of 1: not an image file; JPEG, PNG"),
    "too many images": (records(*["x"] * 257), 413, "257 images in one request; at most 256"),
}
OF_ANOTHER_TYPE = {
    "none": {},
    "CSV": {"Content-Type": "text/csv"},
    "Parquet": {"Content-Type": "application/vnd.apache.parquet"},
    "another charset": {"Content-Type": "application/json; charset=latin-1"},
    "a form": {"Content-Type": "multipart/form-data"},
}


@pytest.mark.slow
def test_behind_the_guard(logged, port, tmp_path):
    """Good requests are answered as the network answers, bad ones with a reason and nothing of the server's own."""
    with running(server.command(port), environment(logged), port, tmp_path) as (process, log):
        noise = encoded(Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)))
        for good in FORMS:
            status, body = ask(port, json.dumps(good(RED, text(noise))).encode())
            assert status == 200, body
            _require_answers(json.loads(body)["predictions"], noise, logged.onnx)
        _require_bare_bytes(port, noise, logged.onnx, tmp_path)
        assert "the student computes on CPUExecutionProvider" in log()
        for name, (request, expected, message) in REFUSED.items():
            _require_refusal(name, ask(port, request), expected, message, tmp_path)
        for name, headers in OF_ANOTHER_TYPE.items():
            _require_refusal(
                name, ask(port, b"image\n5,6,7\n", headers), 415, "Content-Type: application/json", tmp_path
            )
        for path, method in (("/docs", "GET"), ("/", "GET"), ("/invocations/x", "POST")):
            _require_refusal(path, ask(port, None, path=path, method=method), 404, "/invocations", tmp_path)
        _require_refusal("GET", ask(port, None, method="GET"), 405, "takes POST", tmp_path)
        _require_memory_back(process, port)
        assert "Traceback" not in log()
        _require_end_in_mid_request(process, port)


def _require_bare_bytes(port: int, noise: bytes, onnx: Path, folder: Path) -> None:
    """An image file, and raw pixels with a shape, are answered as the same image in JSON is."""
    answers = []
    for content in (base64.b64decode(RED), noise):
        status, body = ask(port, content, {"Content-Type": "application/x-www-form-urlencoded"}, "/predict")
        assert status == 200, body
        answers += json.loads(body)["predictions"]
    _require_answers(answers, noise, onnx)
    raw = np.asarray(Image.open(io.BytesIO(noise)))
    instances = [{"image": RED}, {"image": text(raw.tobytes()), "shape": list(raw.shape)}]
    status, body = ask(port, json.dumps({"instances": instances}).encode())
    assert status == 200, body
    _require_answers(json.loads(body)["predictions"], noise, onnx)
    for content, message in ((b"", "image 1 of 1: the file is empty"), (GOOD, "image 1 of 1: not an image file")):
        _require_refusal("bare", ask(port, content, {}, "/predict"), 400, message, folder)
    _require_refusal("JSON", ask(port, GOOD, path="/predict"), 415, "bare bytes of one image file", folder)


def _require_answers(predictions: list[dict], noise: bytes, onnx: Path) -> None:
    first, second = predictions
    assert first["label"] == "MEL"
    assert first["probabilities"] == pytest.approx({"MEL": 0.7, "NV": 0.2, "BCC": 0.1}, abs=1e-6)
    session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
    (expected,) = session.run(["probabilities"], {"pixels": load(noise, size=8, resize="crop", channels=3)[None]})
    assert list(second["probabilities"]) == ["MEL", "NV", "BCC"]
    assert list(second["probabilities"].values()) == pytest.approx(expected[0].tolist(), abs=1e-6)
    assert second["label"] == ["MEL", "NV", "BCC"][int(expected[0].argmax())]


def _require_refusal(name: str, answer: tuple[int, str], status: int, message: str, folder: Path) -> None:
    found, body = answer
    assert found == status, (name, body)
    content = json.loads(body)
    assert set(content) == {"error_code", "message"}, name
    assert message in content["message"], name
    for leaked in ("Traceback", "SECRET", RED, str(folder), str(REPOSITORY), "site-packages"):
        assert leaked not in body, name


def _require_memory_back(process: subprocess.Popen[bytes], port: int) -> None:
    """An image of 36 million pixels takes 300 MB while it is decoded, and nothing afterwards."""
    large = records(text(encoded(Image.new("RGBA", (6000, 6000), (200, 100, 50, 128)))))
    before = psutil.Process(process.pid).memory_info().rss
    assert ask(port, large)[0] == 200
    assert ask(port, GOOD)[0] == 200
    assert psutil.Process(process.pid).memory_info().rss < before + 60 * 2**20 or sys.platform != "linux"


@pytest.mark.slow
def test_a_server_that_needs_a_gpu_does_not_start_without(logged, port, make_params):
    if has_gpu():
        pytest.skip("a GPU is there")
    serving = make_params(serving={"require_gpu": True, "workers": 2}).serving
    variables = server.environment(logged.uri, logged.store, serving)
    command = server.command(port, workers=serving.workers)
    result = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=300)
    assert "serving.require_gpu is true, but student.onnx would compute on CPUExecutionProvider" in result.stderr
    assert "failed to start, stopping the parent process" in result.stderr  # it is not started again and again
    assert "Traceback" not in result.stderr


def _require_end_in_mid_request(process: subprocess.Popen[bytes], port: int) -> None:
    """One request is computed and one has been sent by half when the server is stopped: the first is answered."""
    answers: list[int] = []
    large = records(text(encoded(Image.new("RGB", (6000, 6000), "red"))))
    under_way = threading.Thread(target=lambda: answers.append(ask(port, large)[0]))
    with socket.create_connection(("127.0.0.1", port)) as half:
        half.sendall(
            b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"
        )
        under_way.start()
        time.sleep(0.5)
        began = time.monotonic()
        process.terminate()
        process.wait(timeout=60)
    under_way.join()
    assert answers == [200]
    assert time.monotonic() - began < server.STOPS_WITHIN + 5
    with pytest.raises(ConnectionRefusedError):
        ask(port, GOOD)


@pytest.mark.slow
def test_with_plain_mlflow(logged, port, tmp_path):
    """The model is loaded from its own copy of the code, and names the faults that a model can see."""
    arguments = ["--model-uri", logged.uri, "--host", "127.0.0.1", "--port", str(port), "--env-manager", "local"]
    with running([sys.executable, "-m", "mlflow", "models", "serve", *arguments], environment(logged), port, tmp_path):
        status, body = ask(port, GOOD)
        assert status == 200, body
        assert json.loads(body)["predictions"][0]["label"] == "MEL"
        pixels = text(bytes([0, 0, 255]) * 200)
        status, body = ask(port, json.dumps({"instances": [{"image": pixels, "shape": [10, 20, 3]}]}).encode())
        assert (status, json.loads(body)["predictions"][0]["label"]) == (200, "BCC")
        status, body = ask(port, records(RED, NOT_AN_IMAGE))
        assert status == 400
        assert "image 2 of 2: not an image file" in json.loads(body)["message"]
        assert "Traceback" not in body
