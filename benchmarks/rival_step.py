"""Does a rival's step cost what a plain step costs? GCE has a loss, ELR a memory, Co-teaching a second network."""

from benchmarks.kd_step import LIMIT, STEPS_ON_CPU, STEPS_ON_GPU, TURNS
from benchmarks.rows import Row, at_most
from benchmarks.timing import alternate
from benchmarks.trainings import (
    BATCH,
    CLASSES,
    ROSKD,
    SIZE,
    network,
    objective,
    processor,
    random_images,
    scaled,
    training,
    training_set,
    waiter,
)
from pipeline.distillation.co_teaching import Pair
from pipeline.distillation.methods import Rival
from pipeline.distillation.rivals import rival_objective
from pipeline.params.tree import Params
from pipeline.training.device import pick_device
from pipeline.training.world import World

LIMITS: dict[Rival, float] = {"gce": LIMIT, "elr": LIMIT, "co_teaching": 2.1}


def measure(params: Params) -> list[Row]:
    """Return the time of an epoch with each rival over one with the supervised loss."""
    device = pick_device("auto")
    steps = scaled(device, STEPS_ON_CPU, STEPS_ON_GPU)
    data = training_set(random_images(steps * BATCH), device)
    shape = (steps * BATCH, CLASSES)
    tasks = {"plain": objective(ROSKD, None, steps * BATCH, device)} | {
        name: rival_objective(name, params, shape, device, World(device)) for name in LIMITS
    }
    models = {"co_teaching": Pair(network(), network(seed=1))}
    turns = {
        name: training(params, data, task, device, model=models.get(name)).run_epoch for name, task in tasks.items()
    }
    seconds = alternate(turns, waiter(device), TURNS)
    what = f"step over a plain one, views in both; {SIZE} px, batch {BATCH}, {steps} steps a turn, {processor(device)}"
    titles = {"gce": "GCE student", "elr": "ELR student", "co_teaching": "two networks'"}
    return [
        at_most(f"{name}_step", seconds[name] / seconds["plain"], limit, f"{titles[name]} {what}")
        for name, limit in LIMITS.items()
    ]
