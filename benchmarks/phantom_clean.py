"""Is the phantom neither solved nor hopeless? A plain ResNet-18 on clean labels, under the default schedule."""

import tempfile
from pathlib import Path

import numpy as np
import torch

from benchmarks.rows import Row
from models.inference import predict
from models.networks import build
from pipeline.common.labels import encode
from pipeline.data import splits
from pipeline.data.array import write_images
from pipeline.data.sources import open_source
from pipeline.data.views import Views
from pipeline.distillation.losses import Balance
from pipeline.distillation.objective import Supervised
from pipeline.params.tree import Params
from pipeline.training.device import pick_device
from pipeline.training.loop import Schedule, TrainingSet, fit, seeded_model
from pipeline.training.resume import ResumeFile

SEEDS = (0, 1, 2)
LOW, HIGH = 0.80, 0.95


def measure(params: Params) -> list[Row]:
    """Train three seeds on the published labels and return the test accuracy: median, lowest and highest."""
    device = pick_device(params.machine.device)
    source = open_source(params)
    targets = encode(source.samples["label"], source.classes, params.task, origin="phantom")
    split = splits.assign(source.samples, targets, source.classes, params.split)
    with tempfile.TemporaryDirectory() as folder:
        write_images(source, Path(folder) / "images.npy", params.data.image_size, 0.0)
        images = np.load(Path(folder) / "images.npy")
    rows = np.flatnonzero(split == "train")
    data = TrainingSet(
        images=images,
        sample_ids=source.samples["sample_id"].to_numpy(dtype=str),
        rows=rows,
        targets=torch.from_numpy(targets[rows]).to(device),
        views=Views(params.views, len(images)),
    )
    accuracies = np.array([_accuracy(params, data, images, targets, split, seed, device) for seed in SEEDS])
    row = Row(
        name="phantom_clean",
        median=float(np.median(accuracies)),
        low=float(accuracies.min()),
        high=float(accuracies.max()),
        target=f"{LOW:.2f} to {HIGH:.2f}",
        met=bool((accuracies >= LOW).all() and (accuracies <= HIGH).all()),
        n=len(SEEDS),
        what="test accuracy of a plain ResNet-18 on clean labels (lowest and highest seed)",
    )
    return [row]


def _accuracy(
    params: Params,
    data: TrainingSet,
    images: np.ndarray,
    targets: np.ndarray,
    split: np.ndarray,
    seed: int,
    device: torch.device,
) -> float:
    test = np.flatnonzero(split == "test")
    model = seeded_model(lambda: build("resnet18", num_classes=int(targets.max()) + 1), seed, "student")
    compiled = params.machine.compile
    schedule = Schedule(params.training, seed, lambda model: {"none": 0.0}, "none", compile=compiled)
    with tempfile.TemporaryDirectory() as folder:
        resume = ResumeFile(Path(folder) / "training.pt")
        fit(model, data, Supervised(params.task, Balance()), schedule, device, resume)
    return float((predict(model, images, test, device).argmax(axis=1) == targets[test]).mean())
