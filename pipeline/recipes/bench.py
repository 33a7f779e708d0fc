"""Everything that the trainings of one seed have in common: data, device, processes, schedule."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from models.classifier import Classifier
from models.heads import HeadAlone, head_layers, kept_dropout
from models.inference import Images
from models.networks import build
from pipeline.common.errors import UserError
from pipeline.common.files import require_free
from pipeline.common.layout import Checkpoint
from pipeline.data.prepared import Prepared
from pipeline.data.views import Views
from pipeline.distillation.losses import Balance, balance_for
from pipeline.distillation.objective import Objective
from pipeline.evaluation.metrics import epoch_metrics, primary_metric
from pipeline.evaluation.predictions import EVALUATED, Logits
from pipeline.params.learning import Network
from pipeline.params.tree import Params
from pipeline.recipes.store import OnEpoch
from pipeline.training.device import autocast_dtype, pick_device
from pipeline.training.feed import epoch_batches, open_images
from pipeline.training.inputs import Features, Inputs, Pixels, answers
from pipeline.training.loop import Fitted, Schedule, TrainingSet, Weights, fit, seeded_model
from pipeline.training.resume import ResumeFile
from pipeline.training.world import World, local_rank

Learner = Classifier | HeadAlone
"""What is trained: a whole network, or its head on stored features."""
ROOM = 12
"""Times its weights that training a network needs on the disk: the old and the new resume file with momentum, average
and best epoch, three checkpoints, and DVC's copy of them."""


@dataclass(frozen=True)
class Bench:
    """What the trainings of one seed share; `images` reads those of train and val onto the device."""

    params: Params
    seed: int
    prepared: Prepared
    images: Images
    device: torch.device
    world: World

    def inputs(self, features: Sequence[Path] | None = None, *, of_teachers: bool = False) -> Inputs:
        """What networks take in the students' views, or in the teachers': pixels, or the stored `features` of them."""
        if features is not None:
            return Features(features, self.device)
        views = Views(self.params.views, len(self.prepared.images), of_teachers=of_teachers)
        return Pixels(self.images, views, self.device)

    def training_set(self, inputs: Inputs, kept: np.ndarray | None = None, *, published: bool = False) -> TrainingSet:
        """What students train on; with `kept`, bool (N,), what a teacher does: these samples.

        `published`: with the labels as published in place of the given ones.
        """
        labels = self.prepared.published if published else self.prepared.given
        rows = self.prepared.rows("train")
        rows = rows if kept is None else rows[kept]
        return TrainingSet(
            inputs=inputs,
            sample_ids=self.prepared.sample_ids,
            rows=rows,
            targets=torch.from_numpy(labels[rows]).to(self.device),
        )

    def balance(self, data: TrainingSet) -> Balance:
        """The answer to class imbalance in `data`."""
        targets, kind = data.targets.cpu().numpy(), self.params.training.balance
        return balance_for(kind, self.prepared.task, targets, len(self.prepared.classes), self.device)

    def network(self, network: Network, inputs: Inputs, name: str) -> Learner:
        """A network, or the head that is trained of it, whose initial weights depend on the seed and `name` alone."""
        return seeded_model(lambda: self.built(network, inputs), self.seed, name)

    def built(self, network: Network, inputs: Inputs) -> Learner:
        """A network for the classes of the data, or the head alone where `inputs` are features."""
        classes, layers = len(self.prepared.classes), network.layers
        if isinstance(inputs, Features):
            kind, hidden, dropout = (
                layers["head"],
                layers["hidden"],
                kept_dropout(network.architecture, layers["dropout"]),
            )
            return HeadAlone(head_layers(inputs.num_features, classes, kind=kind, hidden=hidden, dropout=dropout))
        return build(network.architecture, num_classes=classes, weights=network.weights, **layers)

    def validate(self, model: nn.Module, inputs: Inputs) -> dict[str, float]:
        """Metrics of the validation split (its labels are noisy too)."""
        dtype = autocast_dtype(self.device, model, self.params.training.precision)
        logits = self.world.answer(
            self.prepared.rows("val"), lambda rows: answers(model, inputs, rows, inputs.count, self.device, dtype)
        )
        return epoch_metrics(self.prepared.task, logits, self.prepared.targets("val"))

    def train(
        self,
        model: nn.Module,
        data: TrainingSet,
        objective: Objective,
        *,
        resume: Path,
        on_epoch: OnEpoch,
        warmup: float | None = None,
        lr_factor: float = 1.0,
    ) -> Fitted:
        """Train, or continue where the file `resume` says; `warmup` None keeps no running average.

        `lr_factor`: times the learning rate of the schedule.

        Raises UserError where the disk has no room for what training writes.
        """
        if self.world.leads:
            size = sum(value.nbytes for value in model.state_dict().values())
            require_free(resume.parent, ROOM * size, f"training a network of {size >> 20:,} MiB")
        primary, compiled = primary_metric(self.prepared.task), self.params.machine.compile
        training = self.params.training
        training = training.model_copy(update={"lr": lr_factor * training.lr})
        schedule = Schedule(
            training,
            self.seed,
            lambda model: self.validate(model, data.inputs),
            primary,
            warmup,
            on_epoch,
            compile=compiled,
            steps=self._steps(),
        )
        return fit(model, data, objective, schedule, self.device, ResumeFile(resume), self.world)

    def _steps(self) -> int | None:
        """The steps of an epoch on all training data, where subsets are to take as many."""
        if self.params.training.length == "epochs":
            return None
        samples, batch_size = len(self.prepared.rows("train")), self.params.training.batch_size
        return len(epoch_batches(samples, batch_size, self.seed, 0, self.world.size))

    def predictions(
        self, model: Learner, inputs: Inputs, checkpoints: Mapping[Checkpoint, Weights]
    ) -> dict[Checkpoint, Logits]:
        """Return what each of a network's checkpoints answers on the training split, validation and test.

        Each of several processes computes a share, and all have the answers.
        """
        rows = {split: self.prepared.rows(split) for split in ("train", *EVALUATED)}
        sources = dict.fromkeys(rows, inputs)
        if isinstance(inputs, Pixels):  # the images of the test split are on the device for this alone
            test = open_images(self.prepared.images, rows["test"], self.device, self.params.machine.data_on_device)
            sources["test"] = Pixels(test, inputs.views, self.device)
        found: dict[Checkpoint, Logits] = {}
        for checkpoint, weights in checkpoints.items():
            model.load_state_dict(weights)
            model.to(self.device)
            found[checkpoint] = {
                split: self.world.answer(
                    rows[split],
                    lambda own, split=split: answers(model, sources[split], own, inputs.count, self.device),
                )
                for split in rows
            }
        return found


def open_bench(params: Params, seed: int, prepared: Prepared) -> Bench:
    """Pick the device, put the images there if they fit, and join the other processes."""
    device = pick_device(params.machine.device, local_rank())
    world = World(device)
    world.require_divisor(params.training.batch_size)
    if params.training.batch_norm == "sync" and device.type == "cpu":
        raise UserError("training.batch_norm is sync, but torch sees no GPU; SyncBatchNorm needs one, use per_replica")
    rows = np.concatenate([prepared.rows("train"), prepared.rows("val")])
    images = open_images(prepared.images, rows, device, params.machine.data_on_device)
    return Bench(params, seed, prepared, images, device, world)
