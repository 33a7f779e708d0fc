"""What several benchmarks time: random images, teachers asked or stored, and trainings that go epoch by epoch.

All is put together from the product's own parts; a training is the one of pipeline.training.loop.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import nn
from torch.optim.swa_utils import update_bn

from models.classifier import Classifier
from models.names import ARCHITECTURES
from models.networks import build
from pipeline.data.views import Views
from pipeline.distillation.losses import Balance
from pipeline.distillation.methods import METHODS, SUBJECT, Method
from pipeline.distillation.objective import (
    Distillation,
    DistillationTerms,
    Objective,
    ReinforcedDistillation,
    Supervised,
    Teachers,
)
from pipeline.distillation.reinforced import SelectionPolicy
from pipeline.distillation.soft_labels import SoftLabels, write_soft_labels
from pipeline.distillation.weighting import StochasticWeights
from pipeline.params.learning import WeightingParams
from pipeline.params.tree import Params, ViewParams
from pipeline.training.device import autocast_dtype
from pipeline.training.feed import open_images
from pipeline.training.inputs import Pixels, answers
from pipeline.training.loop import Schedule, TrainingSet, _Training, seeded_model
from pipeline.training.world import World

SIZE, BATCH, CLASSES, VIEWS = 64, 64, 8, 4
TAU, ALPHA = 0.5, 0.9
ROSKD = METHODS[SUBJECT]
LARGE = 10**6
"""More epochs than any benchmark runs: the learning rate never decays."""


def waiter(device: torch.device) -> Callable[[], None]:
    """Return what waits until the device has done all its work."""
    return torch.cuda.synchronize if device.type == "cuda" else lambda: None


def scaled(device: torch.device, on_cpu: int, on_gpu: int) -> int:
    """How much one turn of a benchmark does: a GPU needs more for a turn that the clock can measure."""
    return on_gpu if device.type == "cuda" else on_cpu


def processor(device: torch.device) -> str:
    """The device in words, and what students' steps are computed in there."""
    where = "GPU" if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    dtype = autocast_dtype(device, nn.Identity()) or torch.float32
    return f"{where}, {str(dtype).removeprefix('torch.')} steps"


def random_images(num_samples: int, size: int = SIZE) -> np.ndarray:
    """Uniform noise, uint8 (N, size, size, 3)."""
    return np.random.default_rng(0).integers(0, 256, (num_samples, size, size, 3), np.uint8)


def training_set(
    images: np.ndarray,
    device: torch.device,
    rows: np.ndarray | None = None,
    *,
    preset: str = "flip_crop",
    views: int = VIEWS,
    on_device: Literal["auto", False] = "auto",
) -> TrainingSet:
    """`rows` of the images (all of them for None) with random labels, by default on the device where they fit."""
    rows = np.arange(len(images)) if rows is None else rows
    targets = np.random.default_rng(1).integers(0, CLASSES, len(rows))
    return TrainingSet(
        inputs=Pixels(
            open_images(images, np.arange(len(images)), device, on_device),
            Views(ViewParams(count=views, preset=preset, seed=0), len(images)),  # type: ignore[arg-type]
            device,
        ),
        sample_ids=np.arange(len(images)).astype(str),
        rows=rows,
        targets=torch.from_numpy(targets).to(device),
    )


def network(architecture: str = "resnet18", seed: int = 0) -> Classifier:
    """A network of the product, ImageNet stem, seeded."""
    return seeded_model(lambda: build(architecture, num_classes=CLASSES), seed, architecture)


def teachers(device: torch.device) -> list[Classifier]:
    """The five architectures, untrained, with BatchNorm statistics of images: their answers cost what trained ones do.

    With a fresh network's statistics activations shrink from layer to layer, down to numbers that CPUs are slow with.
    """
    pixels = torch.from_numpy(random_images(BATCH)).permute(0, 3, 1, 2).to(device) / 255
    networks = [network(name, seed=1).to(device) for name in ARCHITECTURES]
    for teacher in networks:
        update_bn([pixels], teacher)
    return [teacher.eval() for teacher in networks]


def stored_answers(data: TrainingSet, folder: Path, device: torch.device, K: int = len(ARCHITECTURES)) -> SoftLabels:
    """Soft labels of K teachers for all views; what is in them costs nothing, so a linear stand-in has made them."""
    stand_in = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, CLASSES)).to(device)
    paths = [folder / f"{k}.npy" for k in range(K)]
    write_answers(paths[0], stand_in, data, device)
    for path in paths[1:]:
        shutil.copy(paths[0], path)
    return SoftLabels(paths, device)


def write_answers(path: Path, teacher: nn.Module, data: TrainingSet, device: torch.device) -> None:
    """Let a teacher answer all views of the training set, as the recipe of soft labels does.

    Finished views are kept beside `path` until all are there, so that every path needs a folder of its own.
    """

    def answer(view: int) -> np.ndarray:
        return answers(teacher, data.inputs, data.rows, view, device)

    write_soft_labels(path, data.inputs.count, answer, title=path.stem)


def objective(method: Method, answers: Teachers | None, num_samples: int, device: torch.device) -> Objective:
    """What a student of `method` minimises; the supervised loss where it has no teachers."""
    if answers is None:
        return Supervised("multiclass", Balance())
    K = answers.shape[0]
    terms = DistillationTerms("multiclass", Balance(), answers, TAU, ALPHA)
    if method.weighting == "reinforced":
        size = network().num_features + CLASSES + 2
        return ReinforcedDistillation(terms, SelectionPolicy(K, size, num_samples, 0, 1e-3, device))
    weighting = WeightingParams(per="step", concentration=1.0, normalise=True, weight_scale=1.0)
    stochastic = StochasticWeights(K, num_samples, 0, weighting) if method.weighting == "stochastic" else None
    unseen = torch.from_numpy(np.random.default_rng(2).random((K, num_samples)) < 0.5).to(device)
    return Distillation(terms, stochastic, unseen if method.unseen_only else None)


def training(
    params: Params,
    data: TrainingSet,
    task: Objective,
    device: torch.device,
    *,
    batch_size: int = BATCH,
    precision: str = "auto",
    validate: Callable[[nn.Module], object] = lambda model: None,
    smoothed: bool = False,
    world: World | None = None,
    model: nn.Module | None = None,
) -> _Training:
    """The product's training of a ResNet-18 student, or of `model`; its `run_epoch` is what is timed.

    The schedule is that of `params`, the learning rate that of its start; `validate` is called after each epoch.
    """
    fixed = {"epochs": LARGE, "batch_size": batch_size, "precision": precision}

    def validated(model: nn.Module) -> dict[str, float]:
        validate(model)
        return {"none": 0.0}

    schedule = Schedule(params.training.model_copy(update=fixed), 0, validated, "none", 0.0 if smoothed else None)
    return _Training(model or network(), data, task, schedule, device, world or World(device))
