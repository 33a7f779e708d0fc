"""The recipe of a student: what each method's student minimises, and its training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.classifier import load_weights, save_weights
from pipeline.common.files import atomic
from pipeline.common.layout import Checkpoint
from pipeline.distillation.co_teaching import Pair, of_first
from pipeline.distillation.margins import Watched
from pipeline.distillation.methods import METHODS, PLAIN, Method, teachers_of
from pipeline.distillation.objective import (
    Distillation,
    DistillationTerms,
    Objective,
    ReinforcedDistillation,
    Supervised,
    Teachers,
)
from pipeline.distillation.online import OnlineTeachers
from pipeline.distillation.reinforced import SelectionPolicy
from pipeline.distillation.rivals import rival_objective, rival_settings
from pipeline.distillation.soft_labels import SoftLabels
from pipeline.distillation.weighting import StochasticWeights
from pipeline.evaluation.predictions import write_logits
from pipeline.params.tree import Params
from pipeline.recipes.bench import Bench, Learner
from pipeline.recipes.code import fingerprint
from pipeline.recipes.features import stored_features
from pipeline.recipes.pretrained import decisive
from pipeline.recipes.probe import probe
from pipeline.recipes.store import Node, OnEpoch
from pipeline.recipes.workshop import Workshop, digest_of
from pipeline.training.loop import TrainingSet, Weights

CHECKPOINT_FILES = ("last.safetensors", "selected.safetensors", "smoothed.safetensors")
HISTORY, PREDICTIONS, MARGINS = "history.csv", "predictions.npz", "margins.npz"


@dataclass(frozen=True)
class Source:
    """One teacher as a student meets it: the file of its answers, or of its weights where it is asked online."""

    name: str
    path: Path
    digest: str


def student(
    workshop: Workshop, params: Params, seed: int, run: str, sources: Sequence[Source], *, weights: bool = True
) -> Node:
    """Return the node of the student of one training run.

    `sources`: the teachers of `teachers_of(METHODS[run])`; `weights` False keeps answers and curves alone, of which a
    study has hundreds. All students of a seed start from the same weights and see the same batches, so that their
    comparison is paired.
    """
    method = METHODS[run]
    if method.probe is not None:
        return probe(workshop, params, run)
    prepared = workshop.data.prepared(params)
    members = workshop.data.members(params) if method.unseen_only else {}
    network, watched = params.student_network, run == PLAIN
    decides = workshop.decides(params, seed) | {
        "code": fingerprint(__name__),
        "labels": digest_of((prepared.published if method.published else prepared.given)[prepared.rows("train")]),
        "method": {"weighting": method.weighting, "unseen_only": method.unseen_only} if method.pool else None,
        "distillation": _distillation(params, method),
        "rival": None if method.rival is None else rival_settings(method.rival, params),
        "teachers": [source.digest for source in sources],
        "members": {name: digest_of(member) for name, member in members.items()},
        "student": decisive(network) | {"lr_factor": params.student.lr_factor},
        "smoothing": params.smoothing.model_dump(mode="json"),
    }

    def make(folder: Path, on_epoch: OnEpoch) -> None:
        bench = workshop.bench(params, seed)
        inputs = bench.inputs(stored_features(workshop, params, network))
        data = bench.training_set(inputs, published=method.published)
        model = bench.network(network, inputs, "student")
        objective = _objective(bench, method, model, data, _teachers(bench, sources), members)
        if watched:
            shape = (len(data.rows), len(prepared.classes))
            objective = Watched(objective, params.task, shape, bench.device, bench.world)
        resume, warmup = folder / "resume.pt", params.smoothing.warmup
        pair = method.rival == "co_teaching"
        learner = Pair(model, bench.network(network, inputs, "peer")) if pair else model
        fitted = bench.train(
            learner, data, objective, resume=resume, on_epoch=on_epoch, warmup=warmup,
            lr_factor=params.student.lr_factor,
        )  # fmt: skip
        assert fitted.smoothed is not None
        trained: dict[Checkpoint, Weights] = {
            "last": fitted.last, "selected": fitted.selected, "smoothed": fitted.smoothed,
        }  # fmt: skip
        if pair:
            trained = {checkpoint: of_first(values) for checkpoint, values in trained.items()}
        answers = bench.predictions(model, inputs, trained)
        margins = objective.found() if isinstance(objective, Watched) else {}
        if bench.world.leads:
            if margins:
                with atomic(folder / MARGINS) as temporary:
                    np.savez(temporary, aum=margins["aum"].numpy(), disagreed=margins["disagreed"].numpy())
            if weights:
                for file, values in zip(CHECKPOINT_FILES, trained.values(), strict=True):
                    save_weights(values, folder / file)
            write_logits(folder / PREDICTIONS, answers)
            fitted.history.write(folder / HISTORY)
            resume.unlink(missing_ok=True)

    files = (*(CHECKPOINT_FILES if weights else ()), HISTORY, PREDICTIONS, *((MARGINS,) if watched else ()))
    return Node("students", f"student {run}, seed {seed}", decides, files, make)


def _distillation(params: Params, method: Method) -> dict[str, Any] | None:
    """The parameters of distillation that a method reads."""
    if method.pool is None:
        return None
    own = {"reinforced": {"policy_lr"}, "stochastic": {"weighting"}, "uniform": set()}[method.weighting]
    return params.distillation.model_dump(mode="json", include={"soft_labels", "tau", "alpha", *own})


def _teachers(bench: Bench, sources: Sequence[Source]) -> Teachers | None:
    """The teachers' stored answers, or the teachers themselves."""
    if not sources:
        return None
    if bench.params.distillation.soft_labels == "stored":
        return SoftLabels([source.path for source in sources], bench.device)
    known, inputs = bench.params.teacher_networks("subset"), bench.inputs()
    networks = [bench.built(replace(known[source.name], weights=None), inputs) for source in sources]
    for source, network in zip(sources, networks, strict=True):
        load_weights(network, source.path)
    return OnlineTeachers([network.to(bench.device) for network in networks], len(bench.prepared.classes))


def _objective(
    bench: Bench,
    method: Method,
    model: Learner,
    data: TrainingSet,
    answers: Teachers | None,
    members: Mapping[str, np.ndarray],
) -> Objective:
    """The loss of one method; `members`: {architecture: bool (N,)}, which training samples each teacher saw."""
    params, device, N = bench.params, bench.device, len(data.rows)
    balance = bench.balance(data)
    if method.rival is not None:
        shape = (N, len(bench.prepared.classes))
        return rival_objective(method.rival, params, shape, device, bench.world)
    if answers is None:
        return Supervised(params.task, balance)
    teachers = teachers_of(method, params.teacher_names(method.pool))
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
