"""The figures of networks from what they answered, for the stage evaluate and for studies alike."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from pipeline.common.layout import Checkpoint
from pipeline.evaluation.bootstrap import Draws, Figures, resample
from pipeline.evaluation.metrics import evaluate, tune_thresholds
from pipeline.params.tree import Task

EVALUATED = ("val", "test")
CHECKPOINTS: tuple[Checkpoint, ...] = ("last", "selected", "smoothed")

Logits = dict[str, np.ndarray]
"""{split: float32 (N, C)} of one network."""
Row = dict[str, Any]


class Judged(Protocol):
    """What answers are held against: task, classes, and the labels that each split is judged by."""

    @property
    def task(self) -> Task: ...

    @property
    def classes(self) -> tuple[str, ...]: ...

    def targets(self, split: str) -> np.ndarray: ...


def figures_of(truth: Judged, logits: Logits) -> list[Row]:
    """Return all figures of one network on every evaluated split, as rows of split, metric, class, value.

    Thresholds (multilabel) are tuned on validation, never on test.
    """
    thresholds = _thresholds(truth, logits)
    rows: list[Row] = []
    for split in EVALUATED:
        table = evaluate(truth.task, logits[split], truth.targets(split), truth.classes, thresholds)
        rows += [{"split": split} | {str(key): value for key, value in row.items()} for row in table.to_dict("records")]
    return rows


def resampled(truth: Judged, by_seed: Sequence[Logits], draws: Draws) -> Figures:
    """Return one method's test figures on every resample; `by_seed`: what its network of each seed answered."""
    thresholds = [found for logits in by_seed if (found := _thresholds(truth, logits)) is not None]
    tests = [logits["test"] for logits in by_seed]
    return resample(truth.task, tests, truth.targets("test"), draws, thresholds=thresholds or None)


def _thresholds(truth: Judged, logits: Logits) -> np.ndarray | None:
    return None if truth.task == "multiclass" else tune_thresholds(logits["val"], truth.targets("val"))
