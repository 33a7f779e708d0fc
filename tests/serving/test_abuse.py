"""A server under 500 requests, good and bad ones mixed, and one that is stopped while clients are asking."""

import http.client
import io
import json
import signal
import sys
import threading
import time
from collections import Counter

import mlflow
import numpy as np
import pytest
from PIL import Image

from benchmarks.abuse import attack, fault_in
from benchmarks.abuse_requests import KINDS, Request, bad, draw, good_images
from benchmarks.memory import anonymous
from benchmarks.served import ask, free_port, running
from models.predictor import Predictor
from models.serving import model_spec
from pipeline.params.file import load
from pipeline.serving import server


@pytest.fixture
def started(write_student, tmp_path):
    """A running server of a saved model: its process, its log, its port, and what answers the same without it."""
    onnx_path, port = write_student(), free_port()
    mlflow.pyfunc.save_model(tmp_path / "model", **model_spec(onnx_path))
    environment = server.environment(str(tmp_path / "model"), "sqlite:///none.db", load().serving)
    with running(server.command(port), environment, port, tmp_path) as (process, log):
        yield process, log, port, Predictor(onnx_path)


@pytest.mark.slow
def test_five_hundred_requests_good_and_bad(started):
    process, log, port, predictor = started
    expected = predictor.predict(good_images())
    assert attack(port, (bad(kind, np.random.default_rng(1)) for kind in KINDS), expected) == []
    before = anonymous(process.pid)
    assert attack(port, draw(0, 500), expected) == []
    assert process.poll() is None
    assert "Traceback" not in log()
    if sys.platform == "linux":
        assert anonymous(process.pid) < before + 64 * 1024


def test_requests_are_drawn_from_the_seed_and_half_of_them_are_good():
    requests = list(draw(3, 2000))
    assert requests == list(draw(3, 2000)) != list(draw(4, 2000))
    kinds = Counter(request.kind for request in requests)
    assert set(kinds) == {"good bytes", "good JSON", *KINDS}
    assert 0.45 < sum(request.status == 200 for request in requests) / 2000 < 0.55


GOOD = Request("good JSON", b"", images=(0,))
BAD = Request("null", b"", status=400, message="image 1 of 2")
WANTED = [{"label": "A", "probabilities": {"A": 0.75, "B": 0.25}}]


@pytest.mark.parametrize(
    ("request_", "status", "content", "fault"),
    [
        (GOOD, 200, {"predictions": WANTED}, None),
        (GOOD, 200, {"predictions": [{"label": "A", "probabilities": {"A": 0.74, "B": 0.26}}]}, "good JSON: "),
        (GOOD, 200, {"predictions": [{"label": "B", "probabilities": {"A": 0.75, "B": 0.25}}]}, "good JSON: "),
        (GOOD, 200, {"predictions": []}, "good JSON: "),
        (GOOD, 400, {"error_code": "", "message": ""}, "status 400, not 200"),
        (BAD, 400, {"error_code": "", "message": "image 1 of 2: nothing"}, None),
        (BAD, 500, {"error_code": "", "message": "image 1 of 2: nothing"}, "status 500, not 400"),
        (BAD, 400, {"error_code": "", "message": "image 2 of 2: nothing"}, "does not say 'image 1 of 2'"),
        (BAD, 400, {"error_code": "", "message": "image 1 of 2", "stack_trace": ""}, "does not say"),
        (BAD, 400, {"error_code": "", "message": "image 1 of 2: site-packages"}, "shows ['site-packages']"),
    ],
)
def test_an_answer_that_is_not_as_it_must_be_is_seen(request_, status, content, fault):
    found = fault_in(request_, status, json.dumps(content), WANTED)
    assert (found is None) if fault is None else (fault in str(found))


@pytest.mark.slow
def test_a_server_that_is_stopped_under_load_answers_what_it_has_begun(started):
    """Four clients ask for large images on and on; what is sent a moment before SIGTERM is answered, what comes later
    is refused, and no answer is cut off."""
    process, _, port, _ = started
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (2000, 2000, 3), np.uint8)).save(stream, "PNG")
    outcomes: list[tuple[float, object]] = []

    def client() -> None:
        while True:
            began = time.monotonic()
            try:
                status, body = ask(port, stream.getvalue(), {}, "/predict")
                outcomes.append((began, status if json.loads(body) else None))
            except (ConnectionError, http.client.RemoteDisconnected) as error:
                outcomes.append((began, error))
            except Exception as error:
                outcomes.append((began, f"cut off: {error!r}"))
            if process.poll() is not None or not isinstance(outcomes[-1][1], int):
                return

    threads = [threading.Thread(target=client) for _ in range(4)]
    for thread in threads:
        thread.start()
    while len(outcomes) < 8:
        time.sleep(0.05)
    time.sleep(0.5)
    stopped = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) in (0, 143, -signal.SIGTERM)
    for thread in threads:
        thread.join(60)
    assert [found for _, found in outcomes if isinstance(found, str)] == []
    assert {found for began, found in outcomes if began < stopped - 0.4} == {200}
    assert [began for began, found in outcomes if not isinstance(found, int) and began < stopped - 0.4] == []
    assert any(not isinstance(found, int) or found == 503 for _, found in outcomes)
    with pytest.raises(ConnectionRefusedError):
        ask(port, b"x", {}, "/predict")
