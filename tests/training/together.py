"""One of several processes that train the tiny network together; started by torchrun in test_world.py."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from models.classifier import Classifier
from pipeline.distillation.co_teaching import CoTeaching
from pipeline.distillation.margins import Watched
from pipeline.distillation.objective import Objective, ReinforcedDistillation
from pipeline.distillation.rivals import EarlyLearning
from pipeline.training.loop import Fitted, fit
from pipeline.training.resume import ResumeFile
from pipeline.training.world import World
from tests.training.tiny import CPU, C, N, learner, objective, schedule, small_network, training_set

KINDS = [
    ("supervised", 46, 20),
    ("stochastic", 46, 20),
    ("reinforced", 12, 5),
    ("elr", 46, 20),
    ("co_teaching", 46, 20),
]
"""Kind of objective, batch size and epochs; of 46, each epoch is one step of 23 + 22."""


def frozen_norms() -> Classifier:
    """The tiny network without dropout, its BatchNorm always in evaluation mode: no statistics of a batch."""
    model = small_network(dropout=0.0)
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.train = lambda mode=True, part=part: part  # type: ignore[method-assign]
            part.training = False
    return model


def train(
    folder: Path, kind: str, batch_size: int, epochs: int, world: World
) -> tuple[Fitted, dict[str, torch.Tensor]]:
    """Train as one of `world`'s processes, or alone; with the margins that the plain objective leaves."""
    task: Objective = objective(folder, kind)
    if isinstance(task, ReinforcedDistillation):
        task._policy._total = world.total
    if isinstance(task, EarlyLearning):
        task._total = world.total
    if isinstance(task, CoTeaching):
        task._gather = world.gather
    if kind == "supervised":
        task = Watched(task, "multiclass", (N, C), CPU, world)
    plain = schedule(epochs=epochs)
    settled = replace(plain, params=plain.params.model_copy(update={"batch_size": batch_size}))
    fitted = fit(
        learner(kind, frozen_norms), training_set(), task, settled, CPU, ResumeFile(folder / "training.pt"), world
    )
    return fitted, task.found() if isinstance(task, Watched) else {}


if __name__ == "__main__":
    processes = World(CPU)
    asked: list[int] = []
    outcome = {
        "agreed": processes.agree({"process": processes.rank}),
        "leads": processes.leads,
        "answers": processes.answer(np.arange(5), lambda rows: asked.extend(rows.tolist()) or rows * 2).tolist(),
        "asked": asked,
        "stream": processes.named("dropout"),
    }
    torch.save(outcome, Path(sys.argv[1]) / f"process{processes.rank}.out")
    for kind, batch_size, epochs in KINDS:
        folder = Path(sys.argv[1]) / kind
        fitted, margins = train(folder, kind, batch_size, epochs, processes)
        outcome = {"history": fitted.history.rows, "last": fitted.last, "smoothed": fitted.smoothed, "margins": margins}
        torch.save(outcome, folder / f"process{processes.rank}.out")
