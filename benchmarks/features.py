"""What stored features cost, and what they save over a frozen backbone that is run at every step."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from benchmarks.rows import Row, at_most
from benchmarks.timing import alternate
from benchmarks.trainings import BATCH, CLASSES, LARGE, processor, random_images, waiter
from models.heads import HeadAlone, head_layers
from models.networks import build
from pipeline.data.views import Views
from pipeline.distillation.losses import Balance
from pipeline.distillation.objective import Supervised
from pipeline.params.learning import Network
from pipeline.params.tree import Params, ViewParams
from pipeline.training.backbone import backbone_features
from pipeline.training.device import pick_device
from pipeline.training.inputs import Features, Inputs, Pixels
from pipeline.training.loop import Schedule, TrainingSet, _Training
from pipeline.training.world import World

NETWORK = "timm:tf_efficientnet_lite0"
SIZE, VIEWS, IMAGES = 128, 8, 6000
TIMED = 8 * BATCH
"""Images of a turn; the rows speak of IMAGES."""
EPOCHS, STUDENTS, TURNS = 40, 20, 8
LIMIT_MINUTES, LIMIT_STUDY = 12.0, 0.05


def measure(params: Params) -> list[Row]:
    """Return minutes for the features of IMAGES images, and a study of heads over one that runs the backbone."""
    device = pick_device("auto")
    images = random_images(TIMED, SIZE)
    views = Views(ViewParams(count=VIEWS, preset="flip_crop", seed=0), TIMED)
    network = Network(NETWORK, None, "head", {})

    def one_view() -> np.ndarray:
        return backbone_features(
            network, images, views, 0, device=device, on_device="auto", share=lambda rows, work: work(rows)
        )

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "features.npy"
        np.save(path, one_view().astype(np.float16))
        stored = _epoch(params, Features([path] * (VIEWS + 1), device), device, frozen=False)
        online = _epoch(params, Pixels(images, views, device), device, frozen=True)
        seconds = alternate({"view": one_view, "stored": stored, "online": online}, waiter(device), TURNS)
    minutes = seconds["view"] * (VIEWS + 1) * IMAGES / TIMED / 60
    whole = (VIEWS + 1) * seconds["view"] + STUDENTS * EPOCHS * seconds["stored"]
    study = whole / (STUDENTS * EPOCHS * seconds["online"])
    what = f"EfficientNet-lite0, {SIZE} px, {processor(device)}"
    return [
        at_most("features", minutes, LIMIT_MINUTES, f"minutes: {IMAGES:,} images, {VIEWS} views and clean, {what}"),
        at_most(
            "heads_study", study, LIMIT_STUDY,
            f"features once and {STUDENTS} heads, {EPOCHS} epochs, over the backbone at every step; {what}",
        ),
    ]  # fmt: skip


def _epoch(params: Params, inputs: Inputs, device: torch.device, *, frozen: bool) -> Callable[[], None]:
    """Return a function that trains one epoch of a head: alone, or behind its frozen backbone."""
    layers = {"head": "mlp", "hidden": 256}
    if isinstance(inputs, Features):
        model = HeadAlone(head_layers(inputs.num_features, CLASSES, kind="mlp"))
    else:
        model = build(NETWORK, num_classes=CLASSES, image_size=SIZE, **layers)
    changes = {"epochs": LARGE, "batch_size": BATCH, "backbone_lr": 0.0 if frozen else 1.0}
    settled = params.training.model_copy(update=changes)
    schedule = Schedule(settled, 0, lambda model: {"f1_macro": 0.0}, "f1_macro")
    targets = torch.from_numpy(np.arange(TIMED) % CLASSES).to(device)
    data = TrainingSet(inputs, np.arange(TIMED).astype(str), np.arange(TIMED), targets)
    return _Training(model, data, Supervised("multiclass", Balance()), schedule, device, World(device)).run_epoch
