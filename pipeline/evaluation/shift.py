"""Figures under shift: macro F1, AUROC and balanced error with intervals, and the mean corruption error.

The error is the balanced one, as in MedMNIST-C (Di Salvo et al. 2024): 1 - mean recall over classes, for several
findings 1 - mean of (recall + specificity) / 2 over findings at the thresholds tuned on validation. Where 70 % of the
images have one class, the plain error hardly sees what happens to the others.
"""

from collections.abc import Mapping

import numpy as np

from models.names import Task
from pipeline.evaluation.bootstrap import Draws, resample
from pipeline.evaluation.comparisons import bootstrap_interval
from pipeline.evaluation.metrics import mean_defined
from pipeline.evaluation.predictions import Row

CLEAN = "clean"
"""The name of the images as they are, in place of a corruption's; its severity is 0."""
ALL, MEAN = "all", "mean"
"""All corruptions, and the mean over severities."""
CORRUPTION_COLUMNS = ("kind", "severity", "metric", "value", "low", "high")
EXTERNAL_COLUMNS = ("source", "metric", "value", "low", "high", "n_groups")
SHIFT_METRICS = ("f1_macro", "auroc_macro", "error")

Resampled = dict[str, np.ndarray]
"""{metric: (R + 1,)} of one network on one set of images; row 0 is the set itself."""


def shift_figures(
    task: Task, logits: np.ndarray, targets: np.ndarray, draws: Draws, thresholds: np.ndarray | None = None
) -> Resampled:
    """Return macro F1, macro AUROC and the balanced error on every resample.

    `logits`: (N, C); `targets`: int (N,) or 0/1 (N, C); `draws`: of one seed; `thresholds`: (C,), multilabel only.
    """
    wanted = ("f1_macro", "auroc_macro", "recall_macro", "specificity_macro")
    given = None if thresholds is None else [thresholds]
    found = {
        name: values[:, 0]
        for name, values in resample(task, [logits], targets, draws, metrics=wanted, thresholds=given).items()
    }
    recall, specificity = found.pop("recall_macro"), found.pop("specificity_macro")
    return found | {"error": 1 - (recall if task == "multiclass" else (recall + specificity) / 2)}


def corruption_error(errors: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return the corruption error CE of one kind (R + 1,): the sum of errors over that of a reference network.

    `errors`, `reference`: (severities, R + 1). Hendrycks & Dietterich 2019, as a ratio: 1 is the reference's. NaN
    where the reference makes no error.
    """
    total, base = errors.sum(axis=0), reference.sum(axis=0)
    return np.where(base > 0, total / np.where(base > 0, base, 1), np.nan)


def corruption_rows(
    own: Mapping[tuple[str, int], Resampled], reference: Mapping[tuple[str, int], Resampled] | None, draws: Draws
) -> list[Row]:
    """Return the rows of a method's table: every kind and severity, each kind's mean over severities, and over kinds.

    `own` and `reference`: the figures by (kind, severity), on the same draws, CLEAN among them. With a reference, kinds
    have the metric `ce` besides, and ALL kinds' mean of it, which is the mean corruption error mCE.
    """
    rows = [row for key, found in own.items() for row in _rows(*key, found, draws)]
    kinds = list(dict.fromkeys(kind for kind, _ in own if kind != CLEAN))
    means = {kind: _over_severities(kind, own, reference) for kind in kinds}
    for kind, found in means.items():
        rows += _rows(kind, MEAN, found, draws)
    names = means[kinds[0]] if kinds else ()
    over_kinds = {name: mean_defined(np.stack([found[name] for found in means.values()], axis=1)) for name in names}
    return rows + _rows(ALL, MEAN, over_kinds, draws)


def _over_severities(
    kind: str,
    own: Mapping[tuple[str, int], Resampled],
    reference: Mapping[tuple[str, int], Resampled] | None,
) -> Resampled:
    keys = [key for key in own if key[0] == kind]
    found = {name: np.mean([own[key][name] for key in keys], axis=0) for name in SHIFT_METRICS}
    if reference is not None:
        errors = (np.stack([figures[key]["error"] for key in keys]) for figures in (own, reference))
        found["ce"] = corruption_error(*errors)
    return found


def external_rows(source: str, found: Resampled, draws: Draws) -> list[Row]:
    """Return the rows of one set of images, with the number of its groups."""
    return [
        {"source": source, "metric": name, **bounds, "n_groups": len(draws.counts)}
        for name, bounds in _bounds(found, draws).items()
    ]


def _rows(kind: str, severity: int | str, found: Resampled, draws: Draws) -> list[Row]:
    return [
        {"kind": kind, "severity": severity, "metric": name, **bounds} for name, bounds in _bounds(found, draws).items()
    ]


def _bounds(found: Resampled, draws: Draws) -> dict[str, Row]:
    intervals = {name: bootstrap_interval(values[:, None], draws) for name, values in found.items()}
    return {name: {"value": one.value, "low": one.low, "high": one.high} for name, one in intervals.items()}
