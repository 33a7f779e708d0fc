"""The recipe of soft labels: what one trained teacher answers to every view of the training split."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from models.classifier import load_weights
from pipeline.common.files import sha256_file, write_json
from pipeline.common.layout import Pool
from pipeline.data.prepared import Prepared
from pipeline.distillation.soft_labels import CONTENT, Origin, origin_of, write_soft_labels
from pipeline.params.tree import Params
from pipeline.recipes.code import fingerprint
from pipeline.recipes.features import stored_features
from pipeline.recipes.pretrained import decisive
from pipeline.recipes.store import POLL, Node, OnEpoch
from pipeline.recipes.teacher import WEIGHTS, teacher
from pipeline.recipes.workshop import Workshop
from pipeline.training.inputs import answers as shown_answers

ANSWERS, ORIGIN = "answers.npy", "origin.json"


def answers(workshop: Workshop, params: Params, seed: int, name: str, weights: Path, weights_hash: str) -> Node:
    """Return the node of a teacher's answers; `weights`: its file, whose SHA-256 is `weights_hash`."""
    origin = origin_for(workshop, params, weights_hash)
    teacher_network = params.teacher_networks("subset")[name]

    def make(folder: Path, on_epoch: OnEpoch) -> None:
        bench = workshop.bench(params, seed)
        inputs = bench.inputs(stored_features(workshop, params, teacher_network))
        network, rows = bench.built(replace(teacher_network, weights=None), inputs), bench.prepared.rows("train")
        load_weights(network, weights)
        network.to(bench.device)

        def answer(view: int) -> np.ndarray:
            return bench.world.answer(rows, lambda own: shown_answers(network, inputs, own, view, bench.device))

        write_soft_labels(
            folder / ANSWERS, inputs.count, answer, title=name, leads=bench.world.leads, agree=bench.world.agree
        )
        if bench.world.leads:
            write_json(folder / ORIGIN, origin | {CONTENT: sha256_file(folder / ANSWERS)})

    decides = {
        "code": fingerprint(__name__),
        "network": decisive(teacher_network),
        **origin,
    }
    return Node("answers", f"soft labels of {name}, seed {seed}", decides, (ANSWERS, ORIGIN), make)


def origin_for(workshop: Workshop, params: Params, weights_hash: str) -> Origin:
    """What the answers of a teacher are made from, beside code."""
    prepared: Prepared = workshop.data.prepared(params)
    return origin_of(weights_hash, workshop.data.digest, prepared.rows("train"), params.views)


def known(workshop: Workshop, params: Params, seed: int, pool: Pool, names: Sequence[str]) -> list[Node] | None:
    """Return the nodes of several teachers' answers if all are in the store; makes nothing."""
    found = [_known(workshop, params, seed, name, teacher(workshop, params, seed, pool, name)) for name in names]
    whole = [node for node in found if node is not None]
    return whole if len(whole) == len(found) else None


def obtain(
    workshop: Workshop, params: Params, seed: int, pool: Pool, names: Sequence[str], *, wait: bool = True
) -> list[Node] | None:
    """Return the nodes of several teachers' answers, made where they are missing, and the teachers too.

    What another process is making is left to it. `wait` False returns None where something is still missing then.
    """
    while True:
        found = [_obtain(workshop, params, seed, pool, name) for name in names]
        whole = [node for node in found if node is not None]
        if len(whole) == len(found):
            return whole
        if not wait:
            return None
        time.sleep(POLL)


def _obtain(workshop: Workshop, params: Params, seed: int, pool: Pool, name: str) -> Node | None:
    """One teacher's answers; the weights of a network that is trained for them alone are dropped afterwards.

    Those of a head stay: they are small, and its other checkpoint may be asked, too.
    """
    store, taught = workshop.store, teacher(workshop, params, seed, pool, name)
    found = _known(workshop, params, seed, name, taught)
    if found is not None:
        return found
    trained_here = not store.has(taught)
    if not store.begin(taught):
        return None
    node = _of(workshop, params, seed, name, taught)
    if not store.begin(node):
        return None
    if trained_here:
        for file in WEIGHTS.values() if params.teachers.train == "all" else ():
            store.drop(taught, file)
        print(f"  {taught.title}: trained, and has answered all views", flush=True)
    return node


def _known(workshop: Workshop, params: Params, seed: int, name: str, taught: Node) -> Node | None:
    if not workshop.store.is_recorded(taught):
        return None
    node = _of(workshop, params, seed, name, taught)
    return node if workshop.store.has(node) else None


def _of(workshop: Workshop, params: Params, seed: int, name: str, taught: Node) -> Node:
    store, file = workshop.store, WEIGHTS[params.teachers.checkpoint]
    weights, digest = store.path(taught) / file, store.digest(taught, file)
    return answers(workshop, params, seed, name, weights, digest)
