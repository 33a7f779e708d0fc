"""What do all students of one seed cost with soft labels written once, against teachers asked at every step?

The runs are those behind `methods` of params.yaml, by default seven. Timed turn by turn: an epoch (with its validation)
of each kind of run, stored and online, and the soft-label stage's work for one view. The totals of a whole seed are
composed of these: both pools are answered in V views and the clean one, and every run lasts EPOCHS epochs.
"""

import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks.rows import Row, at_most
from benchmarks.timing import alternate
from benchmarks.trainings import (
    BATCH,
    CLASSES,
    SIZE,
    network,
    objective,
    processor,
    random_images,
    scaled,
    stored_answers,
    teachers,
    training,
    training_set,
    waiter,
    write_answers,
)
from models.classifier import Classifier
from models.names import ARCHITECTURES
from pipeline.distillation.methods import METHODS, Method, runs_of, teachers_of
from pipeline.distillation.objective import Teachers
from pipeline.distillation.online import OnlineTeachers
from pipeline.params.tree import Params
from pipeline.training.device import autocast_dtype, pick_device
from pipeline.training.inputs import answers as answers_of
from pipeline.training.loop import TrainingSet

EPOCHS, POOLS = 50, 2
LIMITS = {"students_stored_v_all": (EPOCHS, 0.70), "students_stored_v_fifth": (EPOCHS // 5, 0.45)}
"""{row: (number of views V, target)}."""
STEPS_ON_CPU, STEPS_ON_GPU = 2, 20
VALIDATED = 1 / 7
"""Validation images for each training image, as in a split of 70 to 10."""
PASS = "view"

Kind = tuple[bool, str, int, bool]
"""What decides a run's cost: has it teachers, how are they weighted, how many are they, unseen ones only."""


def measure(params: Params) -> list[Row]:
    """Return the two ratios, at V = EPOCHS and at a fifth of that."""
    device = pick_device("auto")
    count = scaled(device, STEPS_ON_CPU, STEPS_ON_GPU) * BATCH
    images = random_images(count + round(VALIDATED * count))
    data = training_set(images, device, np.arange(count))
    networks = teachers(device)
    methods = [METHODS[name] for name in runs_of(params.methods)]
    kinds = {_kind(method): method for method in methods}
    with tempfile.TemporaryDirectory() as folder:
        actions = _epochs(params, data, networks, kinds, Path(folder), device)
        one = training_set(images, device, np.arange(count), views=1)
        actions[PASS] = _one_view_and_the_clean_one(one, networks, Path(folder), device)
        seconds = alternate(actions, waiter(device))
    view = seconds.pop(PASS) / 2
    runs = Counter(map(_kind, methods))
    what = (
        f"{len(methods)} students of one seed, {EPOCHS} epochs, soft labels of {POOLS} pools included, over the same "
        f"with online teachers; {SIZE} px, batch {BATCH}, {count} images a turn, {processor(device)}"
    )
    return [
        at_most(name, compose(seconds, view, runs, views), limit, f"V = {views}: {what}")
        for name, (views, limit) in LIMITS.items()
    ]


def compose(seconds: dict[str, np.ndarray], view: np.ndarray, runs: Counter[Kind], views: int) -> np.ndarray:
    """Return stored over online in each turn.

    `seconds`: {"stored <kind>": (turns,), "online <kind>": …} of an epoch; a run without teachers is there once, as
    stored. `view`: seconds that one pool's teachers take for one view; `runs`: how many runs of a seed are of a kind.
    """
    stored = {kind: seconds[f"stored {kind}"] for kind in runs}
    online = {kind: seconds.get(f"online {kind}", stored[kind]) for kind in runs}
    written = POOLS * (views + 1) * view
    return (written + EPOCHS * _total(stored, runs)) / (EPOCHS * _total(online, runs))


def _total(seconds: dict[Kind, np.ndarray], runs: Counter[Kind]) -> np.ndarray:
    return np.sum([number * seconds[kind] for kind, number in runs.items()], axis=0)


def _kind(method: Method) -> Kind:
    return (
        method.pool is not None,
        method.weighting,
        len(teachers_of(method, ARCHITECTURES)),
        method.unseen_only,
    )


def _epochs(
    params: Params,
    data: TrainingSet,
    networks: list[Classifier],
    kinds: dict[Kind, Method],
    folder: Path,
    device: torch.device,
) -> dict[str, Callable[[], object]]:
    """An epoch of each kind of run, stored and online; Baseline I, which has no teachers, is the same in both."""
    count, by_name = len(data.rows), dict(zip(map(str, ARCHITECTURES), networks, strict=True))
    dtype = autocast_dtype(device, network())
    rest = np.arange(count, len(data.sample_ids))

    def validate(model: nn.Module) -> object:
        return answers_of(model, data.inputs, rest, data.inputs.count, device, dtype)

    def epoch(method: Method, answers: Teachers | None) -> Callable[[], object]:
        task = objective(method, answers, count, device)
        return training(params, data, task, device, validate=validate).run_epoch

    actions: dict[str, Callable[[], object]] = {}
    for kind, method in kinds.items():
        names = teachers_of(method, ARCHITECTURES)
        if not names:
            actions[f"stored {kind}"] = epoch(method, None)
            continue
        where = folder / method.run
        actions[f"stored {kind}"] = epoch(method, stored_answers(data, where, device, len(names)))
        actions[f"online {kind}"] = epoch(method, OnlineTeachers([by_name[name] for name in names], CLASSES))
    return actions


def _one_view_and_the_clean_one(
    data: TrainingSet, networks: list[Classifier], folder: Path, device: torch.device
) -> Callable[[], object]:
    """The soft-label stage's work for V = 1: two views, answered by all teachers of one pool and written."""

    def work() -> None:
        for k, teacher in enumerate(networks):
            write_answers(folder / f"pass{k}/answers.npy", teacher, data, device)

    return work
