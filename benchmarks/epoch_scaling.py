"""Does an epoch's time grow with N alone, and its memory not at all? A student at N = 50,000 and at N = 5,000.

Two processes train RoS-KD's student from memory maps, each through a turnstile: after every STEPS steps it waits for
its next turn. TURNS turns are one epoch of the large set and ten of the small one.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from benchmarks.memory import PeakWatch
from benchmarks.rows import Row, at_most
from benchmarks.timing import TURNS

if TYPE_CHECKING:
    from torch import Tensor, nn

    from pipeline.distillation.objective import Batch, Objective

LARGE, SMALL, SIDE = 50_000, 5_000, 32
STEPS, WARM_UP_STEPS = 40, 3
VIEWS = 2
BLOCK = 5_000
LIMIT = 1.1
ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Turn:
    """Seconds and images of one turn, and the highest RssAnon of its process, in MiB."""

    seconds: float
    images: int
    peak: float


def measure(params: object) -> list[Row]:
    """Return time per image and peak memory at N = LARGE over those at N = SMALL; needs /proc."""
    turns: dict[int, list[Turn]] = {LARGE: [], SMALL: []}
    with (
        tempfile.TemporaryDirectory() as folder,
        Trainee(Path(folder), LARGE) as large,
        Trainee(Path(folder), SMALL) as small,
    ):
        large.await_answer()  # both prepare at the same time
        small.await_answer()
        for number in range(TURNS):
            for trainee in (large, small) if number % 2 else (small, large):
                turns[trainee.num_samples].append(trainee.turn())
    return rows(turns[LARGE], turns[SMALL])


def rows(large: list[Turn], small: list[Turn]) -> list[Row]:
    """The two rows; time is held to the target turn by turn and over all turns, which hold whole epochs."""
    pairs = list(zip(large, small, strict=True))
    times = [(one.seconds / one.images) / (other.seconds / other.images) for one, other in pairs]
    whole = _per_image(large) / _per_image(small)
    peaks = [max(turn.peak for turn in turns) for turns in (large, small)]
    what = f"student epoch at N = {LARGE:,} over N = {SMALL:,} from a memory map; {SIDE} px, K = 5 stored"
    time_row = at_most("epoch_scaling", times, LIMIT, f"time per image, {whole:.3f} over all turns; {what}")
    memory = f"RssAnon, at most {peaks[0]:.0f} and {peaks[1]:.0f} MiB ({peaks[0] - peaks[1]:+.0f}); {what}"
    return [
        replace(time_row, met=time_row.met and whole <= LIMIT),
        at_most("epoch_scaling_memory", [one.peak / other.peak for one, other in pairs], LIMIT, memory),
    ]


def _per_image(turns: list[Turn]) -> float:
    return sum(turn.seconds for turn in turns) / sum(turn.images for turn in turns)


class Trainee:
    """A process that trains on `num_samples` images, a turn at a time."""

    def __init__(self, folder: Path, num_samples: int) -> None:
        self.num_samples = num_samples
        command = [sys.executable, "-m", "benchmarks.epoch_scaling", str(folder / str(num_samples))]
        self._process = subprocess.Popen(
            [*command, str(num_samples), str(STEPS)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()  # the end of its input ends it

    def turn(self) -> Turn:
        """Let it train STEPS steps."""
        assert self._process.stdin is not None
        with PeakWatch(self._process.pid) as watch:
            self._process.stdin.write("go\n")
            answer = self.await_answer()
        return Turn(answer["seconds"], answer["images"], watch.peak)

    def await_answer(self) -> dict[str, Any]:
        """Return its next answer: first that it is ready, then each turn's seconds and images."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the training on {self.num_samples:,} images ended with status {self._process.wait()}")
        return json.loads(line)


class Turnstile:
    """An objective that reports seconds and images after every `steps` steps and waits for the word to go on."""

    def __init__(self, inner: "Objective", steps: int, wait: Callable[[], None]) -> None:
        self._inner, self._steps_of_a_turn, self._wait = inner, steps, wait
        self._steps = self._images = 0
        self.end_epoch, self.state_dict, self.load_state_dict = inner.end_epoch, inner.state_dict, inner.load_state_dict
        self.started = 0.0

    def loss(self, batch: "Batch", features: "Tensor", logits: "Tensor") -> "dict[str, Tensor]":
        """The inner loss."""
        self._images += len(batch.index)
        return self._inner.loss(batch, features, logits)

    def after_step(self, batch: "Batch", model: "nn.Module") -> None:
        """Stop at the end of a turn."""
        self._inner.after_step(batch, model)
        self._steps += 1
        if self._steps % self._steps_of_a_turn == 0:
            self._wait()
            reply({"seconds": time.perf_counter() - self.started, "images": self._images})
            self._images = 0
            self.start()

    def start(self) -> None:
        """Wait for the word, then set the clock; end of input ends the process."""
        if not sys.stdin.readline():
            sys.exit(0)
        self.started = time.perf_counter()


def reply(answer: dict[str, float]) -> None:
    """Answer the process that measures."""
    print(json.dumps(answer), flush=True)


def main(folder: Path, num_samples: int, steps: int) -> None:
    """Train until the input ends."""
    from benchmarks.trainings import BATCH, ROSKD, objective, stored_answers, training, training_set, waiter
    from pipeline.params.file import load
    from pipeline.training.device import pick_device

    folder.mkdir()
    params, device = load(), pick_device("auto")
    images = _mapped_images(folder / "images.npy", num_samples)
    data = training_set(images, device, views=VIEWS, on_device=False)
    answers = stored_answers(data, folder, device)
    first = training_set(images, device, np.arange(WARM_UP_STEPS * BATCH), views=VIEWS, on_device=False)
    training(params, first, objective(ROSKD, answers, num_samples, device), device).run_epoch()
    turnstile = Turnstile(objective(ROSKD, answers, num_samples, device), steps, waiter(device))
    trained = training(params, data, turnstile, device)
    reply({"ready": 1})
    turnstile.start()
    while True:
        trained.run_epoch()


def _mapped_images(path: Path, num_samples: int) -> np.ndarray:
    shape = (num_samples, SIDE, SIDE, 3)
    images = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    for start in range(0, num_samples, BLOCK):
        block = images[start : start + BLOCK]
        block[:] = np.random.default_rng(start).integers(0, 256, block.shape, np.uint8)
    images.flush()
    del images
    return np.load(path, mmap_mode="r")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
