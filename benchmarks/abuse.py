"""Can a server be knocked over? 10,000 requests from a seed, good and bad ones mixed, from several clients at once.

Every good one must be answered as the network answers, every bad one with its status and a message that names the
fault and the place of the instance; the memory of the server must return to its level.
"""

import json
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import mlflow
import numpy as np

from benchmarks.abuse_requests import KINDS, Request, draw, good_images
from benchmarks.memory import anonymous
from benchmarks.rows import Row, at_least, at_most
from benchmarks.served import ask, free_port, running, untrained_student
from models.predictor import Prediction, Predictor
from models.serving import model_spec
from pipeline.params.tree import Params
from pipeline.serving import server

REQUESTS, WARM, CLIENTS = 10_000, 500, 4
GROWTH = 64.0
"""MiB that the server's own memory may have grown by, after all requests."""
LEAKS = ("Traceback", 'File "', "site-packages", "stack_trace", "pipeline/", "models/")
"""What no refusal may show of the server."""


def measure(params: Params) -> list[Row]:
    """Return the share of right answers, which must be all of them, and the growth of the server's memory."""
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        onnx_path = untrained_student(folder / "student.onnx", image_size=64)
        mlflow.pyfunc.save_model(folder / "model", **model_spec(onnx_path))
        expected = Predictor(onnx_path).predict(good_images())
        environment = server.environment(str(folder / "model"), "sqlite:///none.db", params.serving)
        with running(server.command(port), environment, port, folder) as (process, log):
            faults = attack(port, draw(1, WARM), expected)
            before = anonymous(process.pid)
            faults += attack(port, draw(0, REQUESTS), expected)
            growth = (anonymous(process.pid) - before) / 1024
            alive = process.poll() is None and "Traceback" not in log()
    for fault, count in Counter(faults).most_common(5):
        print(f"{count} x {fault}", flush=True)
    right = np.zeros(1) if not alive else np.array([1 - len(faults) / (WARM + REQUESTS)])
    return [
        at_least("abuse", right, 1.0, f"share of {WARM + REQUESTS} requests, half bad of {len(KINDS)} kinds, that are "
                 f"answered rightly, {CLIENTS} clients"),
        at_most("abuse_memory", [growth], GROWTH, "MiB that the server's own memory has grown by"),
    ]  # fmt: skip


def attack(port: int, requests: Iterable[Request], expected: Sequence[Prediction], clients: int = CLIENTS) -> list[str]:
    """Send all requests, `clients` at once; returns a sentence for each answer that is not as it must be.

    `expected`: the predictions for `good_images`.
    """

    def send(request: Request) -> str | None:
        try:
            status, body = ask(port, request.body, request.headers, request.path, request.method)
        except OSError as error:
            return f"{request.kind}: no answer ({error})"
        return fault_in(request, status, body, expected)

    with ThreadPoolExecutor(clients) as pool:
        return [found for found in pool.map(send, requests) if found is not None]


def fault_in(request: Request, status: int, body: str, expected: Sequence[Prediction]) -> str | None:
    """Return what is wrong with an answer; None where it is right."""
    if status != request.status:
        return f"{request.kind}: status {status}, not {request.status}: {body[:200]}"
    content = json.loads(body)
    if request.images:
        wanted = [expected[place] for place in request.images]
        return None if _same(content["predictions"], wanted) else f"{request.kind}: {content} for {wanted}"
    if set(content) != {"error_code", "message"} or request.message not in content["message"]:
        return f"{request.kind}: the message does not say {request.message!r}: {body[:200]}"
    leaked = [leak for leak in LEAKS if leak in body]
    return f"{request.kind}: the answer shows {leaked}" if leaked else None


def _same(found: Sequence[Prediction], wanted: Sequence[Prediction]) -> bool:
    """Whether labels agree, and probabilities within what another batch size changes."""
    if [one["label"] for one in found] != [one["label"] for one in wanted]:
        return False
    pairs = zip(found, wanted, strict=True)
    return all(
        list(one["probabilities"]) == list(other["probabilities"])
        and np.allclose(list(one["probabilities"].values()), list(other["probabilities"].values()), atol=1e-5, rtol=0)
        for one, other in pairs
    )
