"""What each method's student minimises, and its training."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from models.classifier import Classifier
from pipeline.distillation.methods import Method, teachers_of
from pipeline.distillation.objective import (
    Distillation,
    DistillationTerms,
    Objective,
    ReinforcedDistillation,
    Supervised,
    Teachers,
)
from pipeline.distillation.reinforced import SelectionPolicy
from pipeline.distillation.weighting import StochasticWeights
from pipeline.recipes.bench import Bench, OnEpoch
from pipeline.training.loop import Fitted, TrainingSet


def train_student(
    bench: Bench,
    method: Method,
    answers: Teachers | None,
    members: Mapping[str, np.ndarray],
    *,
    resume: Path,
    on_epoch: OnEpoch,
) -> Fitted:
    """Train the student of one method.

    `answers`: those of `teachers_of(method)`, None without teachers; `members`: {architecture: bool (N,)}, which
    training samples each teacher saw. All students of a seed start from the same weights and see the same batches, so
    that their comparison is paired.
    """
    params = bench.params
    data = bench.training_set()
    model = bench.network(params.student.architecture, params.student, "student")
    objective = _objective(bench, method, model, data, answers, members)
    return bench.train(model, data, objective, resume=resume, on_epoch=on_epoch, warmup=params.smoothing.warmup)


def _objective(
    bench: Bench,
    method: Method,
    model: Classifier,
    data: TrainingSet,
    answers: Teachers | None,
    members: Mapping[str, np.ndarray],
) -> Objective:
    """The loss of one method."""
    params, device, N = bench.params, bench.device, len(data.rows)
    balance = bench.balance(data)
    if answers is None:
        return Supervised(params.task, balance)
    teachers = teachers_of(method, params.teachers.architectures)
    terms = DistillationTerms(params.task, balance, answers, params.distillation.tau, params.distillation.alpha)
    if method.weighting == "reinforced":
        size = model.num_features + len(bench.prepared.classes) + 2
        policy = SelectionPolicy(
            len(teachers), size, N, bench.seed, params.distillation.policy_lr, device, bench.world.total
        )
        return ReinforcedDistillation(terms, policy)
    stochastic = None
    if method.weighting == "stochastic":
        stochastic = StochasticWeights(len(teachers), N, bench.seed, params.distillation.weighting)
    unseen = None
    if method.unseen_only:
        unseen = torch.stack([torch.from_numpy(~members[name]) for name in teachers]).to(device)
    return Distillation(terms, stochastic, unseen)
