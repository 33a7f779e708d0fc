"""The training of one teacher."""

from pathlib import Path

import numpy as np

from models.names import Architecture
from pipeline.distillation.objective import Supervised
from pipeline.recipes.bench import Bench, OnEpoch
from pipeline.training.loop import Fitted


def train_teacher(
    bench: Bench, architecture: Architecture, member: np.ndarray | None, *, resume: Path, on_epoch: OnEpoch
) -> Fitted:
    """Train a teacher with the plain loss on the training samples where `member`, bool (N,), is True; None: on all."""
    data = bench.training_set(member)
    model = bench.network(architecture, bench.params.teachers, f"teacher {architecture}")
    objective = Supervised(bench.params.task, bench.balance(data))
    return bench.train(model, data, objective, resume=resume, on_epoch=on_epoch)
