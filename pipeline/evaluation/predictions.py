"""The figures of networks from what they answered, for the stage evaluate and for studies alike."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol
from zipfile import BadZipFile

import numpy as np

from models.names import Task
from pipeline.common.errors import UserError
from pipeline.common.files import atomic
from pipeline.common.layout import Checkpoint
from pipeline.evaluation.bootstrap import METRICS, Draws, Figures, resample
from pipeline.evaluation.metrics import evaluate
from pipeline.evaluation.tuning import tune_biases, tune_thresholds

EVALUATED = ("val", "test")
TEACHER_COLUMNS = ("seed", "pool", "architecture", "split", "metric", "class", "value")
"""The columns of metrics/teachers.csv, of which the last four are those of `figures_of`."""

RESAMPLED: dict[Task, tuple[str, ...]] = {"multiclass": (*METRICS, "f1_macro_tuned"), "multilabel": METRICS}
"""The metrics of `resampled`."""

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

    Thresholds (multilabel) and biases (multiclass) are tuned on validation, never on test.
    """
    thresholds = thresholds_of(truth, logits)
    biases = tune_biases(logits["val"], truth.targets("val")) if truth.task == "multiclass" else None
    rows: list[Row] = []
    for split in EVALUATED:
        table = evaluate(truth.task, logits[split], truth.targets(split), truth.classes, thresholds, biases)
        rows += [{"split": split} | {str(key): value for key, value in row.items()} for row in table.to_dict("records")]
    return rows


def resampled(truth: Judged, by_seed: Sequence[Logits], draws: Draws) -> Figures:
    """Return one method's test figures on every resample; `by_seed`: what its network of each seed answered."""
    thresholds = [found for logits in by_seed if (found := thresholds_of(truth, logits)) is not None]
    tests = [logits["test"] for logits in by_seed]
    targets = truth.targets("test")
    figures = resample(truth.task, tests, targets, draws, thresholds=thresholds or None)
    if truth.task == "multiclass":
        shifted = [logits["test"] + tune_biases(logits["val"], truth.targets("val")) for logits in by_seed]
        figures["f1_macro_tuned"] = resample(truth.task, shifted, targets, draws, metrics=["f1_macro"])["f1_macro"]
    return figures


def thresholds_of(truth: Judged, logits: Logits) -> np.ndarray | None:
    """Return the threshold of each finding, (C,), tuned on validation; None for one class per image."""
    return None if truth.task == "multiclass" else tune_thresholds(logits["val"], truth.targets("val"))


def write_logits(path: Path, checkpoints: Mapping[Checkpoint, Logits]) -> None:
    """Write an npz of what each checkpoint of one network answers."""
    arrays = {
        f"{checkpoint}_{split}": values
        for checkpoint, logits in checkpoints.items()
        for split, values in logits.items()
    }
    with atomic(path) as temporary:
        np.savez(temporary, **arrays)  # type: ignore[arg-type]


def read_logits(path: Path) -> dict[Checkpoint, Logits]:
    """Read a file of `write_logits`. Raises UserError where it is missing or damaged."""
    found: dict[Any, Logits] = {}
    try:
        with np.load(path) as arrays:
            for name in arrays.files:
                checkpoint, split = name.split("_")
                found.setdefault(checkpoint, {})[split] = arrays[name]
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise UserError(f"{path}: cannot be read ({error}). Run make repro again, which makes it") from error
    return found
