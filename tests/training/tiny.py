"""A network, a data set and objectives small enough to train in a test."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from models.classifier import Classifier
from pipeline.data.views import Views
from pipeline.distillation.co_teaching import CoTeaching, Pair
from pipeline.distillation.losses import Balance
from pipeline.distillation.objective import (
    Distillation,
    DistillationTerms,
    Objective,
    ReinforcedDistillation,
    Supervised,
)
from pipeline.distillation.reinforced import SelectionPolicy
from pipeline.distillation.rivals import EarlyLearning
from pipeline.distillation.soft_labels import SoftLabels, write_soft_labels
from pipeline.distillation.weighting import StochasticWeights
from pipeline.params.learning import RivalParams, TrainingParams, WeightingParams
from pipeline.params.tree import ViewParams
from pipeline.training.inputs import Pixels, answers
from pipeline.training.loop import Fitted, Schedule, TrainingSet, fit, seeded_model
from pipeline.training.resume import ResumeFile
from pipeline.training.world import World

CPU = torch.device("cpu")
N, C, V = 45, 3, 2
RIVALS = RivalParams(
    label_smoothing=0.1,
    gce_q=0.7,
    sce_alpha=0.1,
    sce_beta=1.0,
    elr_beta=0.7,
    elr_lambda=3.0,
    co_teaching_rate=None,
    co_teaching_ramp=0.05,
)


def small_network(dropout: float = 0.1) -> Classifier:
    backbone = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()
    )
    return Classifier(backbone, nn.Sequential(nn.Dropout(dropout), nn.Linear(32, C)))


TARGETS = np.arange(N + 5) % C


def pictures() -> np.ndarray:
    """The images: the class is the brightest channel."""
    images = np.random.default_rng(0).integers(0, 120, (N + 5, 12, 12, 3), dtype=np.uint8)
    images[np.arange(N + 5), :, :, TARGETS] += 100
    return images


def views(preset: str = "flip_crop", count: int = V) -> Views:
    return Views(ViewParams(count=count, preset=preset, seed=0), N + 5)  # type: ignore[arg-type]


def training_set(preset: str = "flip_crop", count: int = V) -> TrainingSet:
    return TrainingSet(
        inputs=Pixels(pictures(), views(preset, count), CPU),
        sample_ids=np.array([f"image_{i}" for i in range(N + 5)]),
        rows=np.arange(N) + 5,
        targets=torch.from_numpy(TARGETS[5:]),
    )


def schedule(epochs: int = 6, **changes: object) -> Schedule:
    params = TrainingParams(
        balance="none",
        length="epochs",
        epochs=epochs,
        batch_size=11,
        optimiser="sgd",
        lr=0.05,
        backbone_lr=1.0,
        momentum=0.9,
        weight_decay=2e-4,
        lr_warmup=0.0,
        decay="step",
        decay_at=(0.5,),
        precision="float32",
        batch_norm="per_replica",
    )

    def validate(model: nn.Module) -> dict[str, float]:
        data = training_set()
        logits = answers(model, data.inputs, data.rows, V, CPU)
        return {"accuracy": float((logits.argmax(1) == data.targets.numpy()).mean())}

    return replace(Schedule(params, 0, validate, "accuracy", 0.2, resume_share=1e9), **changes)  # type: ignore[arg-type]


def write_answers(path: Path, teacher: nn.Module, data: TrainingSet) -> None:
    """Store what a teacher answers to every view of the training samples."""

    def answer(view: int) -> np.ndarray:
        return answers(teacher, data.inputs, data.rows, view, CPU)

    write_soft_labels(path, data.inputs.count, answer, title=path.stem)


def distillation(tmp_path: Path, kind: str, device: torch.device) -> Objective:
    data = training_set()
    for k in range(2):
        path = tmp_path / f"teacher{k}.npy"
        if not path.exists():
            write_answers(path, seeded_model(small_network, k, "t"), data)
    soft_labels = SoftLabels([tmp_path / "teacher0.npy", tmp_path / "teacher1.npy"], device)
    terms = DistillationTerms("multiclass", Balance(), soft_labels, 0.5, 0.9)
    if kind == "reinforced":
        return ReinforcedDistillation(terms, SelectionPolicy(2, 32 + C + 2, N, 0, 0.1, device))
    weighting = WeightingParams(per="step", concentration=1.0, normalise=True, weight_scale=1.0)
    return Distillation(terms, StochasticWeights(2, N, 0, weighting))


def objective(tmp_path: Path, kind: str, device: torch.device = CPU) -> Objective:
    if kind == "elr":
        return EarlyLearning("multiclass", (N, C), RIVALS, device, World(device))
    if kind == "co_teaching":
        return CoTeaching("multiclass", 0.4, 2, World(device).gather)
    return Supervised("multiclass", Balance()) if kind == "supervised" else distillation(tmp_path, kind, device)


def learner(kind: str, build: Callable[[], Classifier] = small_network) -> nn.Module:
    """The student, or the pair of them that Co-teaching trains."""
    student = seeded_model(build, 0, "student")
    return Pair(student, seeded_model(build, 0, "peer")) if kind == "co_teaching" else student


def trained(tmp_path: Path, kind: str, resume: Path, **changes: object) -> Fitted:
    return fit(learner(kind), training_set(), objective(tmp_path, kind), schedule(**changes), CPU, ResumeFile(resume))  # type: ignore[arg-type]


def same(first: Fitted, second: Fitted) -> bool:
    assert first.smoothed is not None
    assert second.smoothed is not None
    pairs = zip(
        [first.last, first.selected, first.smoothed], [second.last, second.selected, second.smoothed], strict=True
    )
    return first.history == second.history and all(torch.equal(a[name], b[name]) for a, b in pairs for name in a)
