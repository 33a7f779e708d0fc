"""Figures of one model on one split (method, section 9): pure functions on logits and targets.

Precision, recall, F1 and AUROC of a class without a positive sample are undefined: NaN (a blank cell in the CSV), and
left out of the macro means. A class that is never predicted counts with precision 0 and F1 0. `bootstrap`
uses the same formulas on weighted counts, so figures and intervals agree; the tests hold them against scikit-learn and
torchmetrics.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.special import expit, log_softmax, softmax

from models.names import Task
from pipeline.common.labels import indicator

ECE_BINS = 15
HEADLINES = ("f1_macro", "auroc_macro")
"""The figures that summaries, plots and the tracker show of every method."""


def primary_metric(task: Task) -> str:
    """Return the metric that selects checkpoints and the champion; higher is better."""
    return "f1_macro" if task == "multiclass" else "auroc_macro"


def evaluate(
    task: Task,
    logits: np.ndarray,
    targets: np.ndarray,
    class_names: Sequence[str],
    thresholds: np.ndarray | None = None,
    biases: np.ndarray | None = None,
) -> pd.DataFrame:
    """Return every figure of a model on one split as a long table: metric, class, value.

    `logits`: (N, C); `targets`: int (N,) for multiclass, 0/1 (N, C) for multilabel; `thresholds`: (C,) probabilities,
    multilabel only, 0.5 if None; `biases`: (C,) nats, multiclass only, no `_tuned` figures if None; both are tuned on
    validation (`tuning`). `class` is "" for overall figures. Raises ValueError if there is no sample or a
    logit is not finite.
    """
    require_finite(logits)
    C = len(class_names)
    scores = probabilities(task, logits)
    positives = indicator(targets, C)
    predicted = decide(task, scores, thresholds)
    precision, recall, f1 = _precision_recall_f1(predicted, positives)
    per_class = {"precision": precision, "recall": recall, "f1": f1, "auroc": auroc(scores, positives)}
    overall: dict[str, float | np.ndarray] = {
        f"{name}_macro": mean_defined(values) for name, values in per_class.items()
    }
    overall["ece"] = expected_calibration_error(task, scores, targets)
    if task == "multiclass":
        overall["f1_weighted"] = np.nansum(per_class["f1"] * positives.mean(axis=0))
        overall["accuracy"] = (predicted & positives).any(axis=1).mean()
        overall["balanced_accuracy"] = overall["recall_macro"]
        if biases is not None:
            by_biases = _precision_recall_f1(decide(task, probabilities(task, logits + biases)), positives)
            for name, values in zip(("precision", "recall", "f1"), by_biases, strict=True):
                overall[f"{name}_macro_tuned"] = mean_defined(values)
            per_class["bias"] = biases
    else:
        at_half = _precision_recall_f1(decide(task, scores), positives)
        for name, values in zip(("precision", "recall", "f1"), at_half, strict=True):
            overall[f"{name}_macro_at_0.5"] = mean_defined(values)
        per_class["threshold"] = np.full(C, 0.5) if thresholds is None else thresholds
    rows = [(metric, "", float(value)) for metric, value in overall.items()]
    for metric, values in per_class.items():
        rows += [(metric, name, float(value)) for name, value in zip(class_names, values, strict=True)]
    return pd.DataFrame(rows, columns=["metric", "class", "value"])


def require_finite(logits: np.ndarray) -> None:
    """Raise ValueError if there is no row or a logit is not finite."""
    if not len(logits) or not np.isfinite(logits).all():
        raise ValueError(f"logits of shape {np.shape(logits)}: at least one row, and finite values, are needed")


def epoch_metrics(task: Task, logits: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """Return f1_macro, auroc_macro and loss (nats, mean over N, multilabel also over C) after an epoch.

    Multilabel F1 is taken at 0.5. Shapes as in `evaluate`; values that are not finite give NaN figures, not an error.
    """
    logits = np.asarray(logits, dtype=np.float64)
    if not np.isfinite(logits).all():
        return {"f1_macro": np.nan, "auroc_macro": np.nan, "loss": np.nan}
    scores = probabilities(task, logits)
    positives = indicator(targets, logits.shape[1])
    if task == "multiclass":
        loss = -log_softmax(logits, axis=1)[positives].mean()
    else:
        loss = (np.logaddexp(0, logits) - positives * logits).mean()
    f1 = _precision_recall_f1(decide(task, scores), positives)[2]
    return {
        "f1_macro": float(mean_defined(f1)),
        "auroc_macro": float(mean_defined(auroc(scores, positives))),
        "loss": float(loss),
    }


def probabilities(task: Task, logits: np.ndarray) -> np.ndarray:
    """Return softmax (multiclass) or sigmoid (multilabel) of logits (N, C) in float64."""
    logits = np.asarray(logits, dtype=np.float64)
    return softmax(logits, axis=1) if task == "multiclass" else expit(logits)


def decide(task: Task, scores: np.ndarray, thresholds: np.ndarray | None = None) -> np.ndarray:
    """Return the predicted classes of probabilities (N, C) as bool (N, C).

    multiclass: the first of the highest; multilabel: all at or above `thresholds` (C,), 0.5 if None.
    """
    if task == "multiclass":
        return indicator(scores.argmax(axis=1), scores.shape[1])
    return scores >= (0.5 if thresholds is None else thresholds)


def ratios(hits: np.ndarray, called: np.ndarray, positives: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return precision, recall and F1 of counts of any shape: true positives, predicted, actual.

    NaN where there are no positives, 0 where nothing was predicted. Counts are whole numbers, also weighted ones.
    """
    known = np.where(positives > 0, 1.0, np.nan)
    precision = known * hits / np.maximum(called, 1)
    recall = known * hits / np.maximum(positives, 1)
    return precision, recall, known * 2 * hits / np.maximum(called + positives, 1)


def _precision_recall_f1(predicted: np.ndarray, positives: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return ratios((predicted & positives).sum(axis=0), predicted.sum(axis=0), positives.sum(axis=0))


def auroc(scores: np.ndarray, positives: np.ndarray) -> np.ndarray:
    """Return each class's area under the ROC curve (C,), ties counted half; NaN without positives or negatives.

    `scores`: (N, C) probabilities, one-vs-rest for multiclass; `positives`: bool (N, C). It is the share of pairs
    (positive, negative) in the right order, Mann-Whitney's U.
    """
    return np.array([_mann_whitney(scores[:, c], positives[:, c]) for c in range(scores.shape[1])])


def _mann_whitney(scores: np.ndarray, positive: np.ndarray) -> float:
    above, below = scores[positive], np.sort(scores[~positive])
    if not len(above) or not len(below):
        return np.nan
    wins = np.searchsorted(below, above, side="left") + np.searchsorted(below, above, side="right")
    return float(wins.mean() / (2 * len(below)))


def mean_defined(values: np.ndarray) -> np.ndarray:
    """Return the mean over the last axis without its NaNs; NaN where nothing is defined."""
    known = np.isfinite(values)
    count = known.sum(axis=-1)
    return np.where(count > 0, np.where(known, values, 0).sum(axis=-1) / np.maximum(count, 1), np.nan)


def expected_calibration_error(task: Task, scores: np.ndarray, targets: np.ndarray) -> float:
    """Return the expected calibration error in [0, 1]: 15 equal-width bins, mean |confidence - frequency| by bin size.

    multiclass: confidence of the predicted class against its being right; multilabel: mean over classes of the
    probability of a finding against its presence. A confidence of exactly 1 belongs to the last bin.
    """
    if task == "multiclass":
        return _binned_error(scores.max(axis=1), scores.argmax(axis=1) == targets)
    return float(np.mean([_binned_error(scores[:, c], targets[:, c] > 0) for c in range(scores.shape[1])]))


def _binned_error(confidence: np.ndarray, correct: np.ndarray) -> float:
    bins = np.minimum((confidence * ECE_BINS).astype(np.int64), ECE_BINS - 1)
    gaps = np.bincount(bins, weights=confidence - correct, minlength=ECE_BINS)
    return float(np.abs(gaps).sum() / len(confidence))
