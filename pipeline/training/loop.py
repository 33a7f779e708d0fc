"""The one training loop: teachers and students differ in their objective alone."""

import math
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from models.inference import to_device
from pipeline.common.errors import SettingError
from pipeline.common.seeds import derive
from pipeline.distillation.objective import Batch, Objective
from pipeline.distillation.smoothing import RunningAverage, warmup_epochs
from pipeline.params.learning import TrainingParams
from pipeline.training.compiling import compile_model, plain_compile_errors
from pipeline.training.device import autocast_dtype
from pipeline.training.feed import epoch_batches, share, steps_of_epoch
from pipeline.training.history import History
from pipeline.training.inputs import Inputs
from pipeline.training.optimiser import is_frozen, make_optimiser, make_scheduler, set_training
from pipeline.training.resume import ResumeFile, random_state, restore_random_state
from pipeline.training.world import World

RESUME_SHARE = 0.02
"""Largest share of the time that resume files take; with short epochs one an epoch would cost more than it saves."""
CHECK_EVERY = 50
"""Steps between looks at the loss: each look makes the host wait for the device."""

Weights = dict[str, Tensor]
M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class TrainingSet:
    """`inputs` and `sample_ids` of all samples; `rows`: (N,) to train on; `targets`: (N,) or (N, C) on the device."""

    inputs: Inputs
    sample_ids: np.ndarray
    rows: np.ndarray
    targets: Tensor


@dataclass(frozen=True)
class Schedule:
    """What one training does: its schedule, its seed, and how it is validated.

    `validate(model)` returns metrics of the validation split; `primary` names the one that picks `selected`.
    `smoothing_warmup` None keeps no running average. `on_epoch(epoch, {"split/metric": value})` is called after each
    epoch; resume files, written at the end of an epoch, take at most `resume_share` of the time. `compile`: whether
    torch.compile compiles the network. `steps` of an epoch; None: one pass over the training set.
    """

    params: TrainingParams
    seed: int
    validate: Callable[[nn.Module], dict[str, float]]
    primary: str
    smoothing_warmup: float | None = None
    on_epoch: Callable[[int, dict[str, float]], None] = lambda epoch, metrics: None
    resume_share: float = RESUME_SHARE
    compile: bool = False
    steps: int | None = None


@dataclass(frozen=True)
class Fitted:
    """The outcome: weights after the last epoch, of the best validation epoch, and smoothed (where asked for)."""

    last: Weights
    selected: Weights
    smoothed: Weights | None
    history: History


def seeded_model(build: Callable[[], M], seed: int, name: str) -> M:
    """Build a network whose initial weights depend on (seed, name) alone; the global random state is left as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(derive(seed, f"initial weights of {name}"))
        return build()


def fit(
    model: nn.Module,
    data: TrainingSet,
    objective: Objective,
    schedule: Schedule,
    device: torch.device,
    resume: ResumeFile,
    world: World | None = None,
) -> Fitted:
    """Train `model`, or continue where `resume` says, and return the outcome; each process of `world` returns the same.

    Raises UserError when the loss is no longer finite, naming step, samples and learning rate; when the GPU's memory is
    too small; and when the network cannot be compiled.
    """
    try:
        with plain_compile_errors(schedule.compile):
            return _fit(_Training(model, data, objective, schedule, device, world or World(device)), schedule, resume)
    except torch.OutOfMemoryError as error:
        raise SettingError(
            f"the GPU's memory does not hold a training step of training.batch_size {schedule.params.batch_size} "
            f"({str(error).splitlines()[0]}). Lower training.batch_size or data.image_size, or set "
            "machine.data_on_device: false"
        ) from None


def _fit(training: "_Training", schedule: Schedule, resume: ResumeFile) -> Fitted:
    training.restore(resume)
    saved, cost = time.monotonic(), 0.0
    while training.epoch < schedule.params.epochs:
        training.run_epoch()
        begun = time.monotonic()
        if training.world.leads and cost <= schedule.resume_share * (begun - saved):
            resume.save(training.state())
            saved = time.monotonic()
            cost = saved - begun
        schedule.on_epoch(training.epoch, training.history.of_epoch(training.epoch))
    return training.finish()


class _Training:
    """The state of one training between epochs."""

    def __init__(
        self,
        model: nn.Module,
        data: TrainingSet,
        objective: Objective,
        schedule: Schedule,
        device: torch.device,
        world: World,
    ) -> None:
        torch.manual_seed(derive(schedule.seed, world.named("dropout")))
        self.model = model.to(device)
        self.data, self.objective, self.schedule, self.device, self.world = data, objective, schedule, device, world
        params = schedule.params
        self.dtype = autocast_dtype(device, model, params.precision)
        if schedule.compile:
            compile_model(self.model)
        self.optimiser = make_optimiser(self.model, params)  # first: it freezes what is not trained
        self.network = world.replicate(self.model, params.batch_norm == "sync")
        of_pass = len(epoch_batches(len(data.rows), params.batch_size, schedule.seed, 0, world.size))
        self.scheduler = make_scheduler(self.optimiser, params, schedule.steps or of_pass)
        self.average = None if schedule.smoothing_warmup is None else RunningAverage(self.model)
        self.history = History()
        self.selected: tuple[float, Weights] | None = None
        self.epoch = 0

    def run_epoch(self) -> None:
        """One pass over the training set, validation, and the running average."""
        self.history.add(self.epoch + 1, "train", self._train())
        self.world.same_buffers(self.model)
        metrics = self.schedule.validate(self.model)
        self.history.add(self.epoch + 1, "val", metrics)
        value = metrics[self.schedule.primary]
        value = -math.inf if math.isnan(value) else value  # undefined where validation has one class alone
        if self.selected is None or value > self.selected[0]:
            self.selected = (value, _copy(self.model))
        self.epoch += 1
        if self.average is not None and self.epoch > warmup_epochs(
            self.schedule.smoothing_warmup or 0.0, self.schedule.params.epochs
        ):
            self.average.update(self.model)

    def _train(self) -> dict[str, float]:
        """One pass; the host looks at the device every CHECK_EVERY steps and at the end alone."""
        set_training(self.model)
        params, world = self.schedule.params, self.world
        drawn = steps_of_epoch(
            len(self.data.rows), params.batch_size, self.schedule.seed, self.epoch, world.size,
            steps=self.schedule.steps,
        )  # fmt: skip
        passes, order = [number for number, _ in drawn], [batch for _, batch in drawn]
        own = share(order, world.rank, world.size)
        sums: dict[str, Tensor] = {}
        totals = torch.empty(len(order), device=self.device)
        with closing(self._batches(own, passes)) as batches:
            for step, batch in enumerate(batches):
                part = len(own[step]) / len(order[step])
                terms = self._step(batch, part * world.size)
                totals[step] = terms["total"].detach() * part
                for name, value in terms.items():
                    sums[name] = sums.get(name, torch.zeros((), device=self.device)) + value.detach() * len(own[step])
                if (step + 1) % CHECK_EVERY == 0 or step + 1 == len(order):
                    self._require_finite(world.total(totals[: step + 1]), order)
        self.objective.end_epoch()
        seen = sum(map(len, order))
        means = {name: world.total(value).item() / seen for name, value in sums.items()}
        return {"loss": means.pop("total"), "steps": (self.epoch + 1) * len(order)} | means

    def _batches(self, order: Sequence[np.ndarray], passes: Sequence[int]) -> Generator[Batch, None, None]:
        """The epoch's batches, each in the view of its pass; the order goes to the device once."""
        places = to_device(np.concatenate(order), self.device).split([len(positions) for positions in order])
        views = [self.data.inputs.of_pass(number) for number in passes]
        with closing(self.data.inputs.read([self.data.rows[positions] for positions in order], views)) as blocks:
            for step, (block, index) in enumerate(zip(blocks, places, strict=True)):
                yield Batch(block, self.data.targets[index], index, self.epoch, step, views[step])

    def _step(self, batch: Batch, weight: float) -> dict[str, Tensor]:
        """One step; `weight` makes the mean of all processes' gradients that of the whole batch, 1 for a lone one."""
        with self._autocast():
            features, logits = self.network(batch.inputs, return_features=True)
        terms = self.objective.loss(batch, features, logits.float())
        self.optimiser.zero_grad(set_to_none=True)
        (terms["total"] * weight).backward()
        self.optimiser.step()
        self.scheduler.step()
        with self._autocast():
            self.objective.after_step(batch, self.model)
        return terms

    def _autocast(self) -> AbstractContextManager[object]:
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not None)

    def _require_finite(self, totals: Tensor, order: Sequence[np.ndarray]) -> None:
        finite = torch.isfinite(totals).cpu()
        if bool(finite.all()):
            return
        step = int(torch.nonzero(~finite)[0])
        ids = self.data.sample_ids[self.data.rows[order[step]]]
        raise SettingError(
            f"the loss became {totals[step].item()} in epoch {self.epoch + 1}, step {step + 1}, at learning rate "
            f"{self.scheduler.get_last_lr()[0]:g}. Lower training.lr (for students alone "
            f"student.lr_factor), or look at the images of that batch: "
            f"{', '.join(ids)}"
        )

    def finish(self) -> Fitted:
        """The outcome."""
        assert self.selected is not None
        smoothed = None if self.average is None else self.smoothed(self.average)
        return Fitted(_copy(self.model), self.selected[1], smoothed, self.history)

    def smoothed(self, average: RunningAverage) -> Weights:
        """The averaged weights, with their BatchNorm statistics recomputed over the last view."""
        order = np.array_split(self.data.rows, max(1, len(self.data.rows) // 256))
        view = self.data.inputs.of_pass(self.schedule.params.epochs - 1)
        with closing(self.data.inputs.read(order, [view] * len(order))) as blocks:
            return _copy(average.finish(None if is_frozen(self.model) else blocks, self.device))

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
        if self.world.leads:
            restore_random_state(state["random"], self.device)
        else:
            torch.manual_seed(derive(self.schedule.seed, self.world.named(f"dropout from epoch {self.epoch}")))


def _copy(model: nn.Module) -> Weights:
    return {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}
