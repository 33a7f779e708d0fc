"""The students of a study: taken from the store, or trained there on teachers that are made once for all of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.common.errors import SettingError
from pipeline.common.layout import Checkpoint, Layout, Pool
from pipeline.data.prepared import Prepared
from pipeline.data.variants import Variants
from pipeline.distillation.methods import METHODS, teachers_of
from pipeline.evaluation.metrics import epoch_metrics
from pipeline.evaluation.predictions import EVALUATED, Logits, read_logits
from pipeline.params.tree import Params
from pipeline.recipes.answers import ANSWERS, known, obtain
from pipeline.recipes.store import Node, OnEpoch, Store
from pipeline.recipes.student import HISTORY, PREDICTIONS, Source, student
from pipeline.recipes.teacher import teacher
from pipeline.recipes.workshop import Workshop
from pipeline.training.history import by_epoch, read_history


@dataclass(frozen=True)
class Outcome:
    """A trained student: what each of its checkpoints answers, and the seconds it took."""

    prepared: Prepared
    logits: dict[Checkpoint, Logits]
    seconds: float

    def headline(self, checkpoint: Checkpoint) -> dict[str, float]:
        """Return `{"val/f1_macro": …, "test/f1_macro": …}` of one checkpoint; multilabel F1 is taken at 0.5."""
        task, found = self.prepared.task, self.logits[checkpoint]
        return {
            f"{split}/{name}": value
            for split in EVALUATED
            for name, value in epoch_metrics(task, found[split], self.prepared.targets(split)).items()
        }

    def value(self, metric: str, checkpoint: Checkpoint) -> float:
        """Return a validation metric of one checkpoint; raises SettingError where it is not defined there."""
        value = self.headline(checkpoint)[f"val/{metric}"]
        if not np.isfinite(value):
            raise SettingError(
                f"study.metric {metric} is not defined on the validation split: its labels hold one class alone, or "
                "the student's answers are not finite. Choose another metric, a larger split.val, or a lower "
                "training.lr"
            )
        return value


class Students:
    """Trains students under any parameters, or takes them from the store where the same ones were trained before."""

    def __init__(self, params: Params, layout: Layout) -> None:
        """Raises UserError where the images are not prepared for these parameters."""
        self.data = Variants(layout, params)
        self.store = Store(layout.store)
        self._workshop = Workshop(self.data, self.store)

    def train(self, params: Params, seed: int, run: str, on_epoch: OnEpoch | None = None) -> Outcome:
        """Return the student of a training run, made if need be; `on_epoch` is replayed when it is in the store."""
        node = self._student(params, seed, run, self.answers(params, seed, run))
        trained_here = False

        def listen(epoch: int, metrics: dict[str, float]) -> None:
            nonlocal trained_here
            trained_here = True
            if on_epoch is not None:
                on_epoch(epoch, metrics)

        self.store.get([node], listen)
        if on_epoch is not None and not trained_here:
            for epoch, metrics in enumerate(by_epoch(read_history(self.store.file(node, HISTORY))), 1):
                on_epoch(epoch, metrics)
        return self._outcome(params, node)

    def find(self, params: Params, seed: int, run: str) -> Outcome | None:
        """Return the student if it is in the store; trains nothing."""
        pool, names = self._teachers(params, run)
        answers = known(self._workshop, params, seed, pool, names) if pool else []
        node = None if answers is None else self._student(params, seed, run, answers)
        return self._outcome(params, node) if node is not None and self.store.has(node) else None

    def begin(self, params: Params, seed: int, run: str) -> bool:
        """Make what a student lacks, as far as no other process is making it; returns whether it is there then."""
        pool, names = self._teachers(params, run)
        answers = obtain(self._workshop, params, seed, pool, names, wait=False) if pool else []
        return answers is not None and self.store.begin(self._student(params, seed, run, answers))

    def answers(self, params: Params, seed: int, run: str) -> list[Node]:
        """Return the soft labels that a student learns from, made if need be."""
        pool, names = self._teachers(params, run)
        found = obtain(self._workshop, params, seed, pool, names) if pool else []
        assert found is not None
        return found

    def teachers(self, params: Params, seed: int, run: str) -> list[Node]:
        """Return the teachers whose soft labels `answers` returns."""
        pool, names = self._teachers(params, run)
        return [teacher(self._workshop, params, seed, pool, name) for name in names] if pool else []

    def _teachers(self, params: Params, run: str) -> tuple[Pool | None, tuple[str, ...]]:
        method = METHODS[run]
        return method.pool, teachers_of(method, params.teacher_names(method.pool))

    def _student(self, params: Params, seed: int, run: str, answers: Sequence[Node]) -> Node:
        _, names = self._teachers(params, run)
        sources = [
            Source(name, self.store.file(node, ANSWERS), self.store.digest(node, ANSWERS))
            for name, node in zip(names, answers, strict=True)
        ]
        return student(self._workshop, params, seed, run, sources, weights=False)

    def _outcome(self, params: Params, node: Node) -> Outcome:
        logits = read_logits(self.store.file(node, PREDICTIONS))
        return Outcome(self.data.prepared(params), logits, self.store.seconds(node))
