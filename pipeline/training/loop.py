"""The one training loop: teachers and students differ in their objective alone."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from models.classifier import Classifier
from models.inference import to_pixels
from pipeline.data.views import Views
from pipeline.distillation.objective import Batch, Objective
from pipeline.distillation.smoothing import RunningAverage, warmup_epochs
from pipeline.errors import UserError
from pipeline.params import TrainingParams
from pipeline.seeds import derive, stream
from pipeline.training.history import History
from pipeline.training.resume import ResumeFile, random_state, restore_random_state

RESUME_SHARE = 0.05
"""Largest share of the time that resume files take; with short epochs one an epoch would cost more than it saves."""
CHECK_EVERY = 50
"""Steps between looks at the loss: each look makes the host wait for the device."""

Weights = dict[str, Tensor]


@dataclass(frozen=True)
class TrainingSet:
    """`images`: uint8 (N_all, H, W, channels); `rows`: (N,) to train on; `targets`: (N,) or (N, C) on the device."""

    images: np.ndarray
    sample_ids: np.ndarray
    rows: np.ndarray
    targets: Tensor
    views: Views


@dataclass(frozen=True)
class Plan:
    """What one training does: its schedule, its seed, and how it is validated.

    `validate(model)` returns metrics of the validation split; `primary` names the one that picks `selected`.
    `smoothing_warmup` None keeps no running average. `on_epoch(epoch, {"split/metric": value})` is told of each epoch;
    resume files, written at the end of an epoch, take at most `resume_share` of the time.
    """

    params: TrainingParams
    seed: int
    validate: Callable[[nn.Module], dict[str, float]]
    primary: str
    smoothing_warmup: float | None = None
    on_epoch: Callable[[int, dict[str, float]], None] = lambda epoch, metrics: None
    resume_share: float = RESUME_SHARE


@dataclass(frozen=True)
class Fitted:
    """The outcome: weights after the last epoch, of the best validation epoch, and smoothed (where asked for)."""

    last: Weights
    selected: Weights
    smoothed: Weights | None
    history: History


def seeded_model(build: Callable[[], Classifier], seed: int, name: str) -> Classifier:
    """Build a network whose initial weights depend on (seed, name) alone; the global random state is left as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(derive(seed, f"initial weights of {name}"))
        return build()


def fit(
    model: Classifier, data: TrainingSet, objective: Objective, plan: Plan, device: torch.device, resume: ResumeFile
) -> Fitted:
    """Train `model`, or go on where `resume` says, and return what came out.

    Raises UserError when the loss is no longer finite, naming step, samples and learning rate.
    """
    training = _Training(model, data, objective, plan, device)
    training.restore(resume)
    saved, cost = time.monotonic(), 0.0
    while training.epoch < plan.params.epochs:
        training.run_epoch()
        begun = time.monotonic()
        if cost <= plan.resume_share * (begun - saved):
            resume.save(training.state())
            saved = time.monotonic()
            cost = saved - begun
        plan.on_epoch(training.epoch, training.history.of_epoch(training.epoch))
    return training.finish()


class _Training:
    """The state of one training between epochs."""

    def __init__(
        self, model: Classifier, data: TrainingSet, objective: Objective, plan: Plan, device: torch.device
    ) -> None:
        torch.manual_seed(derive(plan.seed, "dropout"))
        self.model = model.to(device)
        self.data, self.objective, self.plan, self.device = data, objective, plan, device
        params = plan.params
        self.optimiser = torch.optim.SGD(
            self.model.parameters(), params.lr, params.momentum, weight_decay=params.weight_decay, fused=True
        )
        milestones = [round(share * params.epochs) for share in params.decay_at]
        self.scheduler = torch.optim.lr_scheduler.MultiStepLR(self.optimiser, milestones, gamma=0.1)
        self.average = None if plan.smoothing_warmup is None else RunningAverage(self.model)
        self.history = History()
        self.selected: tuple[float, Weights] | None = None
        self.epoch = 0

    def run_epoch(self) -> None:
        """One pass over the training set, validation, and the running average."""
        self.history.add(self.epoch + 1, "train", self._train())
        metrics = self.plan.validate(self.model)
        self.history.add(self.epoch + 1, "val", metrics)
        value = metrics[self.plan.primary]
        value = -math.inf if math.isnan(value) else value  # undefined where validation has one class alone
        if self.selected is None or value > self.selected[0]:
            self.selected = (value, _copy(self.model))
        self.epoch += 1
        if self.average is not None and self.epoch > warmup_epochs(
            self.plan.smoothing_warmup or 0.0, self.plan.params.epochs
        ):
            self.average.update(self.model)

    def _train(self) -> dict[str, float]:
        self.model.train()
        sums: dict[str, Tensor] = {}
        totals: list[Tensor] = []
        order = self._order()
        for step, positions in enumerate(order):
            batch = self._batch(positions, step)
            terms = self._step(batch)
            totals.append(terms["total"].detach())
            for name, value in terms.items():
                sums[name] = sums.get(name, torch.zeros((), device=self.device)) + value.detach() * len(positions)
            if (step + 1) % CHECK_EVERY == 0 or step + 1 == len(order):
                self._require_finite(totals, order)
        self.objective.end_epoch()
        self.scheduler.step()
        means = {name: value.item() / len(self.data.rows) for name, value in sums.items()}
        return {"loss": means.pop("total")} | means

    def _order(self) -> list[np.ndarray]:
        """The epoch's batches: a permutation cut into pieces; a last piece of one sample joins its neighbour."""
        size = self.plan.params.batch_size
        permutation = stream(self.plan.seed, "batch order", self.epoch).permutation(len(self.data.rows))
        cuts = np.arange(size, len(permutation), size)
        if len(cuts) and len(permutation) - cuts[-1] == 1:
            cuts = cuts[:-1]  # BatchNorm cannot train on a single sample
        return np.split(permutation, cuts)

    def _batch(self, positions: np.ndarray, step: int) -> Batch:
        view = self.data.views.of_epoch(self.epoch)
        rows = self.data.rows[positions]
        pixels = self.data.views.apply(to_pixels(self.data.images, rows, self.device), rows, view)
        targets = self.data.targets[torch.from_numpy(positions).to(self.device)]
        return Batch(pixels, targets, positions, self.epoch, step, view)

    def _step(self, batch: Batch) -> dict[str, Tensor]:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            features, logits = self.model(batch.pixels, return_features=True)
        terms = self.objective.loss(batch, features, logits.float())
        self.optimiser.zero_grad(set_to_none=True)
        terms["total"].backward()
        self.optimiser.step()
        self.objective.after_step(batch, self.model)
        return terms

    def _require_finite(self, totals: list[Tensor], order: list[np.ndarray]) -> None:
        finite = torch.isfinite(torch.stack(totals)).cpu()
        if bool(finite.all()):
            return
        step = int(torch.nonzero(~finite)[0])
        ids = self.data.sample_ids[self.data.rows[order[step]]]
        raise UserError(
            f"the loss became {totals[step].item()} in epoch {self.epoch + 1}, step {step + 1}, at learning rate "
            f"{self.scheduler.get_last_lr()[0]:g}. Lower training.lr, or look at the images of that batch: "
            f"{', '.join(ids)}"
        )

    def finish(self) -> Fitted:
        """The outcome, the smoothed weights with their BatchNorm statistics recomputed over the last view."""
        assert self.selected is not None
        smoothed = None
        if self.average is not None:
            smoothed = _copy(self.average.finish(self._last_view(), self.device))
        return Fitted(_copy(self.model), self.selected[1], smoothed, self.history)

    def _last_view(self) -> Iterator[Tensor]:
        view = self.data.views.of_epoch(self.plan.params.epochs - 1)
        for rows in np.array_split(self.data.rows, max(1, len(self.data.rows) // 256)):
            yield self.data.views.apply(to_pixels(self.data.images, rows, self.device), rows, view)

    def state(self) -> dict[str, object]:
        """Everything a resumed run needs."""
        return {
            "epoch": self.epoch,
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "objective": self.objective.state_dict(),
            "selected": self.selected,
            "history": self.history.rows,
            "random": random_state(self.device),
        }

    def restore(self, resume: ResumeFile) -> None:
        """Take up a saved state where there is one."""
        state = resume.load(self.device)
        if state is None:
            return
        self.epoch = state["epoch"]
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.scheduler.load_state_dict(state["scheduler"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.objective.load_state_dict(state["objective"])
        self.selected = (state["selected"][0], state["selected"][1])
        self.history.rows = [tuple(row) for row in state["history"]]
        restore_random_state(state["random"], self.device)


def _copy(model: nn.Module) -> Weights:
    return {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}
