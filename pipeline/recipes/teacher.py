"""The recipe of a teacher: a network trained without teachers on all training samples, or on a subset of them."""

from pathlib import Path
from typing import Any

import numpy as np

from models.classifier import save_weights
from pipeline.common.layout import Checkpoint, Pool
from pipeline.distillation.objective import Objective, Supervised
from pipeline.distillation.rivals import rival_objective, rival_settings
from pipeline.evaluation.predictions import write_logits
from pipeline.params.tree import Params
from pipeline.recipes.bench import Bench
from pipeline.recipes.code import fingerprint
from pipeline.recipes.features import stored_features
from pipeline.recipes.pretrained import decisive
from pipeline.recipes.store import Node, OnEpoch
from pipeline.recipes.workshop import Workshop, digest_of
from pipeline.training.loop import TrainingSet, Weights

WEIGHTS = {"last": "last.safetensors", "selected": "selected.safetensors"}
"""The file of each checkpoint; one training leaves both."""
HISTORY, PREDICTIONS = "history.csv", "predictions.npz"


def teacher(workshop: Workshop, params: Params, seed: int, pool: Pool, name: str) -> Node:
    """Return the node of one teacher; one that sees all data is the same in both pools."""
    network = params.teacher_networks(pool)[name]
    prepared = workshop.data.prepared(params)
    rows = prepared.rows("train")
    member = workshop.data.members(params)[name] if pool == "subset" else np.ones(len(rows), dtype=bool)
    decides = workshop.decides(params, seed) | {
        "code": fingerprint(__name__),
        "labels": digest_of(rows[member], prepared.given[rows[member]]),
        "name": name,
        "length": None if member.all() else params.training.length,
        "loss": _loss(params),
        "network": decisive(network),
    }

    def make(folder: Path, on_epoch: OnEpoch) -> None:
        bench = workshop.bench(params, seed)
        stored = stored_features(workshop, params, network, of_teachers=True)
        inputs = bench.inputs(stored, of_teachers=True)
        data = bench.training_set(inputs, member)
        model = bench.network(network, inputs, f"teacher {name}")
        objective = _objective(params, bench, data)
        resume = folder / "resume.pt"
        fitted = bench.train(model, data, objective, resume=resume, on_epoch=on_epoch)
        trained: dict[Checkpoint, Weights] = {"last": fitted.last, "selected": fitted.selected}
        answers = bench.predictions(model, inputs, trained)
        if bench.world.leads:
            for checkpoint, values in trained.items():
                save_weights(values, folder / WEIGHTS[checkpoint])
            write_logits(folder / PREDICTIONS, answers)
            fitted.history.write(folder / HISTORY)
            resume.unlink(missing_ok=True)

    title = f"teacher {name} ({pool}), seed {seed}"
    return Node("teachers", title, decides, (*WEIGHTS.values(), HISTORY, PREDICTIONS), make)


def _loss(params: Params) -> dict[str, Any]:
    """What a teacher minimises, with the parameters that are its own."""
    name = params.teachers.loss
    return {"name": name} if name == "cross_entropy" else rival_settings(name, params)


def _objective(params: Params, bench: Bench, data: TrainingSet) -> Objective:
    if params.teachers.loss == "cross_entropy":
        return Supervised(params.task, bench.balance(data))
    shape = (len(data.rows), len(bench.prepared.classes))
    return rival_objective(params.teachers.loss, params, shape, bench.device, bench.world)
