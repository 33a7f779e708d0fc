"""Does a rival's step cost what a plain step costs? GCE, which has a loss of its own, and ELR, which has a memory."""

from benchmarks.kd_step import LIMIT, STEPS_ON_CPU, STEPS_ON_GPU, TURNS
from benchmarks.rows import Row, at_most
from benchmarks.timing import alternate
from benchmarks.trainings import (
    BATCH,
    CLASSES,
    ROSKD,
    SIZE,
    objective,
    processor,
    random_images,
    scaled,
    training,
    training_set,
    waiter,
)
from pipeline.distillation.rivals import rival_objective
from pipeline.params.tree import Params
from pipeline.training.device import pick_device


def measure(params: Params) -> list[Row]:
    """Return the time of an epoch with each loss over one with the supervised loss."""
    device = pick_device("auto")
    steps = scaled(device, STEPS_ON_CPU, STEPS_ON_GPU)
    data = training_set(random_images(steps * BATCH), device)
    shape = (steps * BATCH, CLASSES)
    tasks = {"plain": objective(ROSKD, None, steps * BATCH, device)} | {
        name: rival_objective(name, "multiclass", params.rivals, shape, device, lambda values: values)
        for name in ("gce", "elr")
    }
    turns = {name: training(params, data, task, device).run_epoch for name, task in tasks.items()}
    seconds = alternate(turns, waiter(device), TURNS)
    what = f"step over a plain one, views in both; {SIZE} px, batch {BATCH}, {steps} steps a turn, {processor(device)}"
    return [
        at_most(f"{name}_step", seconds[name] / seconds["plain"], LIMIT, f"{name.upper()} student {what}")
        for name in ("gce", "elr")
    ]
