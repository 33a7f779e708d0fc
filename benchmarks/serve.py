"""What does a server cost beside decoding and the network? 128-px lesion JPEGs, one ResNet-18 of 64 px, this machine.

The bare work is Pillow and onnxruntime in one process with every core: images are decoded on as many threads as there
are cores, then computed in one batch. Bare work and requests take turns, so that whatever else the machine does meets
both; the clients share the server's cores, as in no real use.
"""

import base64
import http.client
import io
import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import mlflow
import numpy as np
import onnxruntime
from PIL import Image

from benchmarks.prepare import REAL
from benchmarks.rows import Row, at_least, at_most, reported
from benchmarks.served import JSON, free_port, running, untrained_student
from benchmarks.timing import alternate
from models.providers import CPU, Compute, open_session
from models.serving import model_spec
from pipeline.params.tree import Params
from pipeline.runtime.workers import count_cores
from pipeline.serving import server

SIZE, PIXELS, BATCH, FILES = 64, 128, 32, 256
ALONE, TURNS = 300, 20
"""Single requests whose times are ranked, and turns of what is compared by its median."""
CLIENTS, SECONDS = (1, 8, 32), 6.0
"""Clients at once, and how long each number of them asks."""
HOW = f"batch {BATCH}, two clients"


class Client:
    """A connection that stays open, on which requests are sent one after the other."""

    def __init__(self, port: int, path: str) -> None:
        self._connection, self._path = http.client.HTTPConnection("127.0.0.1", port, timeout=60), path
        self._headers = {} if path == "/predict" else JSON

    def ask(self, body: bytes) -> bytes:
        """Return the answer; raises RuntimeError unless it is a prediction."""
        self._connection.request("POST", self._path, body, self._headers)
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{self._path} answers {answer.status}: {content[:200]!r}")
        return content


def measure(params: Params) -> list[Row]:
    """Return throughput in batches, latency of single images, and both with several clients."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        onnx_path = untrained_student(folder / "student.onnx", SIZE)
        mlflow.pyfunc.save_model(folder / "model", **model_spec(onnx_path))
        files = _files()
        bare = Bare(onnx_path)
        with _server(params, folder, plain=True) as port:
            ratios = _throughput(bare, port, files)
            rows = [at_least("serve", ratios, 0.8, f"images/s of mlflow models serve over the bare work, {HOW}")]
        with _server(params, folder, plain=False) as port:
            ratios = _throughput(bare, port, files)
            rows.append(reported("serve_guarded", ratios, f"images/s of make serve over the bare work, {HOW}"))
            rows += _alone(bare, port, files)
            rows += [row for clients in CLIENTS for row in _together(port, files, clients)]
        return rows


class Bare:
    """Decoding and onnxruntime, with every core and nothing else."""

    def __init__(self, onnx_path: Path) -> None:
        self._session: onnxruntime.InferenceSession = open_session(onnx_path, Compute((CPU,)))
        self._pool = ThreadPoolExecutor(count_cores())

    def one(self, content: bytes) -> object:
        """Return the probabilities of one image, decoded here."""
        return self._session.run(["probabilities"], {"pixels": _decode(content)[None]})

    def many(self, contents: Sequence[bytes]) -> object:
        """Return the probabilities of a batch."""
        return self._session.run(["probabilities"], {"pixels": np.stack(list(self._pool.map(_decode, contents)))})


def _decode(content: bytes) -> np.ndarray:
    picture = Image.open(io.BytesIO(content)).convert("RGB")
    return np.asarray(picture.resize((SIZE, SIZE), Image.Resampling.BILINEAR))


def _files() -> list[bytes]:
    """Real lesions where they are beside the clone, else as many drawn JPEGs of their size."""
    if REAL.is_dir():
        return [path.read_bytes() for path in sorted(REAL.iterdir())[:FILES]]
    rng, files = np.random.default_rng(0), []
    for _ in range(FILES):
        coarse = Image.fromarray(rng.integers(60, 220, (9, 12, 3), np.uint8)).resize((PIXELS, PIXELS))
        noisy = np.asarray(coarse) + rng.integers(-12, 13, (PIXELS, PIXELS, 1))
        stream = io.BytesIO()
        Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(stream, "JPEG", quality=90)
        files.append(stream.getvalue())
    return files


def _as_json(contents: Sequence[bytes]) -> bytes:
    instances = [{"image": base64.b64encode(content).decode()} for content in contents]
    return json.dumps({"instances": instances}).encode()


@contextmanager
def _server(params: Params, folder: Path, *, plain: bool) -> Iterator[int]:
    """Run the saved model behind the guard, or `plain` by MLflow alone; yields its port."""
    port, model = free_port(), str(folder / "model")
    arguments = ["--model-uri", model, "--host", "127.0.0.1", "--port", str(port), "--env-manager", "local"]
    of_mlflow = [sys.executable, "-m", "mlflow", "models", "serve", *arguments]
    environment = server.environment(model, "sqlite:///none.db", params.serving)
    with running(of_mlflow if plain else server.command(port), environment, port, folder):
        yield port


def _throughput(bare: Bare, port: int, files: Sequence[bytes]) -> np.ndarray:
    """Return the bare work's seconds for all files over those of two clients that share them, in each turn."""
    batches = [files[start : start + BATCH] for start in range(0, len(files), BATCH)]
    bodies = [_as_json(batch) for batch in batches]

    def ask(part: Sequence[bytes]) -> None:
        client = Client(port, "/invocations")  # one for each turn: the server ends connections that rest for 5 s
        for body in part:
            client.ask(body)

    def served() -> None:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(ask, (bodies[::2], bodies[1::2])))

    seconds = alternate({"bare": lambda: [bare.many(batch) for batch in batches], "served": served}, turns=TURNS)
    return seconds["bare"] / seconds["served"]


def _alone(bare: Bare, port: int, files: Sequence[bytes]) -> list[Row]:
    """One client, one image: the three ways take turns image by image; ratios are of neighbours in time."""
    by_bytes, by_json = Client(port, "/predict"), Client(port, "/invocations")
    seconds = {"bare": np.empty(ALONE), "predict": np.empty(ALONE), "invocations": np.empty(ALONE)}
    for turn in range(-10, ALONE):  # the first are not counted
        content = files[turn % len(files)]
        body = _as_json([content])
        ways: dict[str, Callable[[], object]] = {
            "bare": lambda content=content: bare.one(content),
            "predict": lambda content=content: by_bytes.ask(content),
            "invocations": lambda body=body: by_json.ask(body),
        }
        for way, call in ways.items():
            started = time.perf_counter()
            call()
            if turn >= 0:
                seconds[way][turn] = time.perf_counter() - started
    plain, tail = (float(np.quantile(seconds["bare"], q)) * 1000 for q in (0.5, 0.99))
    bare_says = f"bare {plain:.2f} ms, p99 {tail:.2f}"
    rows = []
    for name, way, limit in (("serve_one", "predict", 1.5), ("serve_one_json", "invocations", 4.0)):
        median = float(np.median(seconds[way])) * 1000
        what = f"time of /{way} over the bare work, one image, one client: median {median:.2f} ms ({bare_says})"
        rows.append(at_most(name, seconds[way] / seconds["bare"], limit, what))
    predict = seconds["predict"]
    tails = [np.quantile(block, 0.99) / np.median(block) for block in np.split(predict, 3)]
    what = f"p99 of /predict over its median, in blocks of {ALONE // 3}; one client (bare work: {tail / plain:.1f})"
    return [*rows, at_most("serve_p99", tails, 3.0, what)]


def _together(port: int, files: Sequence[bytes], clients: int) -> list[Row]:
    """Several clients ask /predict for single images, each on its own connection, on and on for some seconds."""
    times: list[float] = []
    ends = time.perf_counter() + SECONDS

    def work(start: int) -> None:
        client, turn = Client(port, "/predict"), start
        while (began := time.perf_counter()) < ends:
            client.ask(files[turn % len(files)])
            times.append(time.perf_counter() - began)
            turn += 1

    threads = [threading.Thread(target=work, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    median, tail = (1000 * float(np.quantile(times, q)) for q in (0.5, 0.99))
    rate, name = len(times) / SECONDS, f"serve_clients_{clients}"
    many = "client" if clients == 1 else "clients at once"
    return [
        reported(name, [rate], f"images/s of /predict, {clients} {many}, one image a request"),
        reported(f"{name}_p50", [median], f"ms, median of {len(times)} requests"),
        reported(f"{name}_p99", [tail], "ms, the slowest hundredth"),
    ]
