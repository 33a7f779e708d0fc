"""The recipe of a rival without a network: what a probe on stored features answers, as a student's node."""

from pathlib import Path

import numpy as np

from pipeline.common.files import write_text
from pipeline.common.layout import CHECKPOINTS, Checkpoint
from pipeline.distillation.methods import METHODS
from pipeline.distillation.probes import linear_probes, neighbours
from pipeline.evaluation.metrics import epoch_metrics, primary_metric
from pipeline.evaluation.predictions import EVALUATED, Logits, write_logits
from pipeline.params.tree import Params
from pipeline.recipes.code import fingerprint
from pipeline.recipes.features import FEATURES, features
from pipeline.recipes.pretrained import weights_identity
from pipeline.recipes.store import Node, OnEpoch
from pipeline.recipes.workshop import Workshop, digest_of
from pipeline.training.history import History

HISTORY, PREDICTIONS, PICKED = "history.csv", "predictions.npz", "picked.txt"


def probe(workshop: Workshop, params: Params, run: str) -> Node:
    """Return the node of a linear probe or of nearest neighbours on the clean images' features.

    No seed decides it. What it leaves open is picked by the validation split, as a student's best epoch is.
    """
    prepared, kind, network = workshop.data.prepared(params), METHODS[run].probe, params.student_network
    rows = {split: prepared.rows(split) for split in ("train", *EVALUATED)}
    decides = {
        "code": fingerprint(__name__),
        "probe": kind,
        "data": workshop.data.digest,
        "splits": digest_of(*rows.values()),
        "labels": digest_of(prepared.given[rows["train"]], prepared.targets("val")),
        "architecture": network.architecture,
        "weights": weights_identity(network),
    }

    def make(folder: Path, on_epoch: OnEpoch) -> None:
        node = features(workshop, params, network, params.views.count)
        workshop.store.get([node])
        if not workshop.store.leads:
            return
        stored = np.load(workshop.store.file(node, FEATURES), mmap_mode="r")
        of_split = {split: stored[own].astype(np.float32) for split, own in rows.items()}
        kinds = {"linear_probe": linear_probes, "knn": neighbours}
        given = prepared.given[rows["train"]]
        candidates = kinds[str(kind)](of_split["train"], given, prepared.task, len(prepared.classes))
        primary, targets = primary_metric(prepared.task), prepared.targets("val")
        found = {
            name: epoch_metrics(prepared.task, answer(of_split["val"]), targets) for name, answer in candidates.items()
        }
        picked = max(found, key=lambda name: np.nan_to_num(found[name][primary], nan=-np.inf))
        logits: Logits = {split: candidates[picked](values) for split, values in of_split.items()}
        loss = epoch_metrics(prepared.task, logits["train"], given)["loss"]
        history = History()
        history.add(1, "train", {"loss": loss, "steps": 0})
        history.add(1, "val", found[picked])
        history.write(folder / HISTORY)
        same: dict[Checkpoint, Logits] = dict.fromkeys(CHECKPOINTS, logits)
        write_logits(folder / PREDICTIONS, same)
        write_text(folder / PICKED, f"{picked}\n")
        on_epoch(1, history.of_epoch(1))

    return Node("students", f"{METHODS[run].title}, by validation", decides, (HISTORY, PREDICTIONS, PICKED), make)
