"""Does a distilling step cost what a plain step costs? RoS-KD on stored soft labels against no teacher at all."""

import tempfile
from pathlib import Path

from benchmarks.rows import Row, at_most
from benchmarks.timing import alternate
from benchmarks.trainings import (
    BATCH,
    ROSKD,
    SIZE,
    objective,
    processor,
    random_images,
    scaled,
    stored_answers,
    training,
    training_set,
    waiter,
)
from pipeline.params.tree import Params
from pipeline.training.device import pick_device

TURNS = 30
STEPS_ON_CPU, STEPS_ON_GPU = 8, 100
LIMIT = 1.05


def measure(params: Params) -> list[Row]:
    """Return the time of an epoch with K = 5 stored answers, drawn weights and views over one without teachers."""
    device = pick_device("auto")
    steps = scaled(device, STEPS_ON_CPU, STEPS_ON_GPU)
    data = training_set(random_images(steps * BATCH), device)
    with tempfile.TemporaryDirectory() as folder:
        answers = stored_answers(data, Path(folder), device)
        seconds = alternate(
            {
                "plain": training(params, data, objective(ROSKD, None, steps * BATCH, device), device).run_epoch,
                "roskd": training(params, data, objective(ROSKD, answers, steps * BATCH, device), device).run_epoch,
            },
            waiter(device),
            TURNS,
        )
    what = (
        f"RoS-KD student step, K = {answers.shape[0]} stored, over a plain one, views in both; {SIZE} px, batch "
        f"{BATCH}, {steps} steps a turn, {processor(device)}"
    )
    return [at_most("kd_step", seconds["roskd"] / seconds["plain"], LIMIT, what)]
