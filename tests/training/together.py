"""One of several processes that train the tiny network together; started by torchrun in test_world.py."""

import sys
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from models.classifier import Classifier
from pipeline.distillation.objective import ReinforcedDistillation
from pipeline.training.loop import Fitted, fit, seeded_model
from pipeline.training.resume import ResumeFile
from pipeline.training.world import World
from tests.training.tiny import CPU, objective, plan, small_network, training_set


def frozen_norms() -> Classifier:
    """The tiny network without dropout, its BatchNorm always in evaluation mode: no statistics of a batch."""
    model = small_network(dropout=0.0)
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.train = lambda mode=True, part=part: part  # type: ignore[method-assign]
            part.training = False
    return model


def train(folder: Path, kind: str, batch_size: int, epochs: int, world: World) -> Fitted:
    """Train as one of `world`'s processes, or alone."""
    task = objective(folder, kind)
    if isinstance(task, ReinforcedDistillation):
        task._policy._total = world.total
    schedule = plan(epochs=epochs)
    schedule = replace(schedule, params=schedule.params.model_copy(update={"batch_size": batch_size}))
    model = seeded_model(frozen_norms, 0, "student")
    return fit(model, training_set(), task, schedule, CPU, ResumeFile(folder / "training.pt"), world)


if __name__ == "__main__":
    where, what, size, length = sys.argv[1:]
    processes = World(CPU)
    fitted = train(Path(where), what, int(size), int(length), processes)
    told = {"history": fitted.history.rows, "last": fitted.last, "smoothed": fitted.smoothed}
    torch.save(told, Path(where) / f"process{processes.rank}.out")
