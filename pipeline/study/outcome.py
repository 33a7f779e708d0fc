"""What stays of a training in the store: answers and curves, not weights, of which a study makes hundreds."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models.classifier import Classifier
from models.inference import predict
from pipeline.common.layout import Checkpoint
from pipeline.data.prepared import Prepared
from pipeline.evaluation.predictions import EVALUATED, Logits
from pipeline.recipes.bench import Bench
from pipeline.recipes.store import MADE_FROM
from pipeline.training.feed import open_images
from pipeline.training.loop import Weights


@dataclass(frozen=True)
class Outcome:
    """A trained network: what each of its checkpoints answers, its curves by epoch, and the seconds it took."""

    prepared: Prepared
    logits: dict[Checkpoint, Logits]
    curve: list[dict[str, float]]
    seconds: float


def write_predictions(bench: Bench, model: Classifier, checkpoints: dict[str, Weights], folder: Path) -> None:
    """Write predictions.npz: the logits of each checkpoint on validation and test."""
    rows = {split: bench.prepared.rows(split) for split in EVALUATED}
    everything = np.concatenate(list(rows.values()))
    images = open_images(bench.prepared.images, everything, bench.device, bench.params.training.data_on_device)
    arrays = {}
    for checkpoint, weights in checkpoints.items():
        model.load_state_dict(weights)
        model.to(bench.device)
        for split in EVALUATED:
            arrays[f"{checkpoint}_{split}"] = predict(model, images, rows[split], bench.device)
    np.savez(folder / "predictions.npz", **arrays)


def read_outcome(folder: Path, prepared: Prepared) -> Outcome:
    """Read what lies in a folder of the store."""
    logits: dict[Any, Logits] = {}
    with np.load(folder / "predictions.npz") as arrays:
        for name in arrays.files:
            checkpoint, split = name.split("_")
            logits.setdefault(checkpoint, {})[split] = arrays[name]
    curve: list[dict[str, float]] = []
    with (folder / "history.csv").open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            while len(curve) < int(row["epoch"]):
                curve.append({})
            curve[-1][f"{row['split']}/{row['metric']}"] = float(row["value"] or "nan")
    return Outcome(prepared, logits, curve, seconds_of(folder))


def seconds_of(folder: Path) -> float:
    """Return how long the making of a folder of the store took."""
    return float(json.loads((folder / MADE_FROM).read_text(encoding="utf-8"))["seconds"])
