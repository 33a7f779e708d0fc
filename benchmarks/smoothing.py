"""What does smoothing add to a student's training? The running average and the BatchNorm pass at the end."""

import numpy as np

from benchmarks.rows import Row, at_most
from benchmarks.timing import alternate
from benchmarks.trainings import (
    BATCH,
    ROSKD,
    SIZE,
    objective,
    processor,
    random_images,
    training,
    training_set,
    waiter,
)
from pipeline.distillation.smoothing import warmup_epochs
from pipeline.params.tree import Params
from pipeline.training.device import pick_device

EPOCHS, WARMUP = 12, 0.2
IMAGES = 1120
"""As many as the default experiment trains on; of more images, averaging takes a smaller share, the pass the same."""
LIMIT = 0.05


def measure(params: Params) -> list[Row]:
    """Return the time that smoothing takes in a training of EPOCHS epochs over the time of its epochs."""
    device = pick_device("auto")
    data = training_set(random_images(IMAGES), device)
    plain = objective(ROSKD, None, IMAGES, device)
    trained = training(params, data, plain, device)
    smoothed = training(params, data, plain, device, smoothed=True)
    average = smoothed.average
    assert average is not None
    seconds = alternate(
        {
            "epoch": trained.run_epoch,
            "update": lambda: average.update(smoothed.model),
            "finish": lambda: smoothed.smoothed(average),
        },
        waiter(device),
    )
    averaged = EPOCHS - warmup_epochs(WARMUP, EPOCHS)
    what = (
        f"{averaged} averages and the BatchNorm pass over {EPOCHS} epochs of {IMAGES} images; {SIZE} px, batch "
        f"{BATCH}, {processor(device)}"
    )
    return [at_most("smoothing", compose(seconds, averaged), LIMIT, what)]


def compose(seconds: dict[str, np.ndarray], averaged: int) -> np.ndarray:
    """Return smoothing over training in each turn, from one epoch, one `update` and the `finish` of the average."""
    return (averaged * seconds["update"] + seconds["finish"]) / (EPOCHS * seconds["epoch"])
