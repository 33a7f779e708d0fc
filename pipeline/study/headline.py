"""What the students of a study reached, in numbers."""

import numpy as np

from pipeline.common.errors import SettingError
from pipeline.common.layout import Checkpoint
from pipeline.evaluation.metrics import epoch_metrics
from pipeline.evaluation.predictions import EVALUATED
from pipeline.study.outcome import Outcome


def value_of(outcome: Outcome, metric: str, checkpoint: Checkpoint = "smoothed") -> float:
    """Return a validation metric of one checkpoint; raises SettingError where it is not defined there."""
    value = headline(outcome, checkpoint)[f"val/{metric}"]
    if not np.isfinite(value):
        raise SettingError(
            f"study.metric {metric} is not defined on the validation split: its labels hold one class alone, or the "
            "student's answers are not finite. Choose another metric, a larger split.val, or a lower training.lr"
        )
    return value


def headline(outcome: Outcome, checkpoint: Checkpoint) -> dict[str, float]:
    """Return `{"val/f1_macro": …, "test/f1_macro": …}` of one checkpoint; multilabel F1 is taken at 0.5."""
    prepared = outcome.prepared
    return {
        f"{split}/{name}": value
        for split in EVALUATED
        for name, value in epoch_metrics(
            prepared.task, outcome.logits[checkpoint][split], prepared.targets(split)
        ).items()
    }
