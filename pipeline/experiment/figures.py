"""The figures of networks from what they answered, for the stage evaluate and for studies alike."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.artifacts import Checkpoint
from pipeline.data.prepared import Prepared
from pipeline.evaluation.metrics import evaluate, tune_thresholds
from pipeline.evaluation.resampling import Draws, Figures, resample

EVALUATED = ("val", "test")
CHECKPOINTS: tuple[Checkpoint, ...] = ("last", "selected", "smoothed")

Logits = dict[str, np.ndarray]
"""{split: float32 (N, C)} of one network."""
Row = dict[str, Any]


def figures_of(prepared: Prepared, logits: Logits) -> list[Row]:
    """Return all figures of one network on every evaluated split, as rows of split, metric, class, value.

    Thresholds (multilabel) are tuned on validation, never on test.
    """
    thresholds = _thresholds(prepared, logits)
    rows: list[Row] = []
    for split in EVALUATED:
        table = evaluate(prepared.task, logits[split], prepared.targets(split), prepared.classes, thresholds)
        rows += [{"split": split} | {str(key): value for key, value in row.items()} for row in table.to_dict("records")]
    return rows


def resampled(prepared: Prepared, by_seed: Sequence[Logits], draws: Draws) -> Figures:
    """Return one method's test figures on every resample; `by_seed`: what its network of each seed answered."""
    thresholds = [found for logits in by_seed if (found := _thresholds(prepared, logits)) is not None]
    tests = [logits["test"] for logits in by_seed]
    return resample(prepared.task, tests, prepared.targets("test"), draws, thresholds=thresholds or None)


def _thresholds(prepared: Prepared, logits: Logits) -> np.ndarray | None:
    return None if prepared.task == "multiclass" else tune_thresholds(logits["val"], prepared.targets("val"))
