"""What does a study on frozen teachers cost, against the same job as users of other tools write it?

A few steps of each are timed turn by turn, and one view of the soft-label pass; the study is composed of them: every
student lasts EPOCHS epochs, and the teachers answer V = EPOCHS views and the clean one, once.
"""

import sys
import tempfile
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from benchmarks import peers
from benchmarks.rows import Row, at_most, reported
from benchmarks.timing import alternate
from benchmarks.trainings import (
    ALPHA,
    BATCH,
    CLASSES,
    ROSKD,
    SIZE,
    TAU,
    network,
    objective,
    processor,
    random_images,
    scaled,
    stored_answers,
    teachers,
    training,
    training_set,
    waiter,
    write_answers,
)
from models.classifier import Classifier
from pipeline.params.tree import Params
from pipeline.training.device import pick_device

STUDENTS, EPOCHS = 20, 50
IMAGES = 2048
STEPS_ON_CPU, STEPS_ON_GPU = 4, 32
ANSWERED_ON_CPU, ANSWERED_ON_GPU = 128, 2048
"""Images of the soft-label pass in each turn."""
LIMIT = 0.35


def measure(params: Params) -> list[Row]:
    """Return the time of our study over the peer's: as the product runs it, and with both in float32."""
    device = pick_device("auto")
    steps = scaled(device, STEPS_ON_CPU, STEPS_ON_GPU)
    images, networks = random_images(IMAGES), teachers(device)
    data = training_set(images, device, np.arange(steps * BATCH))
    answered = training_set(images, device, np.arange(scaled(device, ANSWERED_ON_CPU, ANSWERED_ON_GPU)), views=1)
    with tempfile.TemporaryDirectory() as folder:
        version = peers.install_torchdistill(Path(folder) / "peer")
        answers = stored_answers(data, Path(folder), device)

        def epoch(precision: str) -> Callable[[], None]:
            task = objective(ROSKD, answers, steps * BATCH, device)
            return training(params, data, task, device, precision=precision).run_epoch

        def answer() -> None:
            for k, teacher in enumerate(networks):
                write_answers(Path(folder) / f"pass{k}/answers.npy", teacher, answered, device)

        peer = _peer(params, images, networks, device, with_torchdistill=version is not None)
        actions = {
            "ours": epoch("auto"),
            "float32": epoch("float32"),
            "pass": answer,
            "peer": lambda: next(islice(peer, steps - 1, None)),
        }
        seconds = alternate(actions, waiter(device))
        sys.path[:] = [path for path in sys.path if not path.startswith(folder)]
    peer_name = f"torchdistill {version}" if version else "a plain DataLoader loop (torchdistill did not install)"
    what = (
        f"study of {STUDENTS} students on {len(networks)} frozen teachers, {EPOCHS} epochs, V = {EPOCHS}, soft labels "
        f"included, over {peer_name} in float32; {SIZE} px, batch {BATCH}, {steps} steps a turn, {processor(device)}"
    )
    view = seconds["pass"] / (2 * len(answered.rows))
    peer_image = seconds["peer"] / (steps * BATCH)
    ratios = {name: compose(seconds[name] / (steps * BATCH), view, peer_image) for name in ("ours", "float32")}
    return [
        at_most("study_peer", ratios["ours"], LIMIT, what),
        reported("study_peer_float32", ratios["float32"], f"ours in float32, too: {what}"),
    ]


def compose(ours: np.ndarray, view: np.ndarray, peer: np.ndarray) -> np.ndarray:
    """Return our study over the peer's in each turn; all three are seconds for one image, (turns,).

    `ours`, `peer`: a student's training on it; `view`: the teachers' answers to one view of it.
    """
    passes = STUDENTS * EPOCHS
    return (passes * ours + (EPOCHS + 1) * view) / (passes * peer)


def _peer(
    params: Params, images: np.ndarray, networks: list[Classifier], device: torch.device, with_torchdistill: bool
) -> Iterator[None]:
    """The peer's training, step by step; images, networks, batch size and optimiser are ours."""
    schedule = params.training
    job = peers.Job(
        pictures=peers.Pictures(images, np.random.default_rng(1).integers(0, CLASSES, len(images))),
        student=network(),
        teachers=networks,
        optimiser={"lr": schedule.lr, "momentum": schedule.momentum, "weight_decay": schedule.weight_decay},
        device=device,
        batch_size=BATCH,
        tau=TAU,
        alpha=ALPHA,
    )
    return peers.torchdistill_steps(job) if with_torchdistill else peers.plain_steps(job)
