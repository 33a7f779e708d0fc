"""Everything that the trainings of one seed have in common: data, device, processes, schedule."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from models.classifier import Classifier
from models.inference import Images, predict
from models.names import Architecture
from models.networks import build
from pipeline.common import layout as artifacts
from pipeline.common.errors import UserError
from pipeline.common.files import sha256_file
from pipeline.data.prepared import Prepared, load_prepared
from pipeline.data.views import Views
from pipeline.distillation.losses import Balance, balance_for
from pipeline.distillation.objective import Objective
from pipeline.evaluation.metrics import epoch_metrics, primary_metric
from pipeline.params.tree import TRAINING_MACHINE, Params, StudentParams, TeacherParams
from pipeline.training.device import autocast_dtype, pick_device
from pipeline.training.feed import open_images
from pipeline.training.loop import Fitted, Plan, TrainingSet, fit, seeded_model
from pipeline.training.resume import ResumeFile
from pipeline.training.world import World, local_rank

OnEpoch = Callable[[int, dict[str, float]], None]
"""Told of each epoch, from 1, and its `{"split/metric": value}`; may raise to end the training."""


@dataclass(frozen=True)
class Bench:
    """What the trainings of one seed share; `images` reads those of train and val onto the device."""

    params: Params
    seed: int
    prepared: Prepared
    images: Images
    device: torch.device
    world: World

    def training_set(self, kept: np.ndarray | None = None) -> TrainingSet:
        """The training split, or those of its samples where `kept`, bool (N,), is True."""
        rows = self.prepared.rows("train")
        rows = rows if kept is None else rows[kept]
        return TrainingSet(
            images=self.images,
            sample_ids=self.prepared.sample_ids,
            rows=rows,
            targets=torch.from_numpy(self.prepared.given[rows]).to(self.device),
            views=Views(self.params.views, len(self.prepared.images)),
        )

    def balance(self, data: TrainingSet) -> Balance:
        """The answer to class imbalance in `data`."""
        targets = self.prepared.given[data.rows]
        kind = self.params.training.balance
        return balance_for(kind, self.prepared.task, targets, len(self.prepared.classes), self.device)

    def network(self, architecture: Architecture, section: TeacherParams | StudentParams, name: str) -> Classifier:
        """A network whose initial weights depend on the seed and `name` alone."""
        classes = len(self.prepared.classes)
        return seeded_model(
            lambda: build(architecture, num_classes=classes, stem=section.stem, weights=section.weights),
            self.seed,
            name,
        )

    def validate(self, model: nn.Module) -> dict[str, float]:
        """Metrics of the validation split (its labels are noisy too)."""
        dtype = autocast_dtype(self.device, model, self.params.training.precision)
        logits = self.world.answer(
            self.prepared.rows("val"), lambda rows: predict(model, self.images, rows, self.device, dtype=dtype)
        )
        return epoch_metrics(self.prepared.task, logits, self.prepared.targets("val"))

    def train(
        self,
        model: Classifier,
        data: TrainingSet,
        objective: Objective,
        *,
        resume: Path,
        on_epoch: OnEpoch,
        warmup: float | None = None,
    ) -> Fitted:
        """Train, or go on where the file `resume` says; `warmup` None keeps no running average."""
        primary = primary_metric(self.prepared.task)
        plan = Plan(self.params.training, self.seed, self.validate, primary, warmup, on_epoch)
        return fit(model, data, objective, plan, self.device, ResumeFile(resume), self.world)


def open_bench(params: Params, seed: int, prepared: Prepared | None = None) -> Bench:
    """Pick the device, put the images there if they fit, and join the other processes.

    `prepared`: the data, by default that of the artefacts.
    """
    prepared, device = prepared or load_prepared(params.task), pick_device(params.training.device, local_rank())
    world = World(device)
    world.require_divisor(params.training.batch_size)
    if params.training.batch_norm == "sync" and device.type == "cpu":
        raise UserError("training.batch_norm is sync, but torch sees no GPU; SyncBatchNorm needs one, use per_replica")
    rows = np.concatenate([prepared.rows("train"), prepared.rows("val")])
    images = open_images(prepared.images, rows, device, params.training.data_on_device)
    return Bench(params, seed, prepared, images, device, world)


def decides(params: Params, seed: int, *inputs: Path) -> dict[str, object]:
    """What the result of a training depends on, beside the code: its parameters and the contents of its inputs."""
    training = params.training.model_dump(mode="json", exclude=TRAINING_MACHINE)
    files = [artifacts.DATA_REPORT, artifacts.SPLITS, artifacts.LABELS, *inputs]
    return {
        "seed": seed,
        "training": training,
        "views": params.views.model_dump(mode="json"),
        "inputs": {str(path): sha256_file(path) for path in files},
    }
