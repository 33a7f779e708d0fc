"""Figures of one model: literal tables, and scikit-learn and torchmetrics as oracles."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import metrics as sk
from torchmetrics.functional.classification import binary_calibration_error, multiclass_calibration_error

from pipeline.evaluation import metrics
from tests.evaluation.drawn import multiclass, multilabel

CLASSES = ("MEL", "NV", "BCC", "AK")


def figure(table: pd.DataFrame, metric: str, name: str = "") -> float:
    rows = table[(table["metric"] == metric) & (table["class"] == name)]
    assert len(rows) == 1, f"{metric} of class {name!r} is {len(rows)} times in the table"
    return float(rows["value"].iloc[0])


def test_literal_multiclass_table() -> None:
    # targets      MEL MEL NV NV NV BCC; predicted MEL NV NV NV BCC BCC; AK occurs nowhere
    targets = np.array([0, 0, 1, 1, 1, 2])
    logits = np.log(10) * np.eye(4)[[0, 1, 1, 1, 2, 2]]
    table = metrics.evaluate("multiclass", logits, targets, CLASSES)
    expected = {
        ("precision", "MEL"): 1, ("recall", "MEL"): 1 / 2, ("f1", "MEL"): 2 / 3,
        ("precision", "NV"): 2 / 3, ("recall", "NV"): 2 / 3, ("f1", "NV"): 2 / 3,
        ("precision", "BCC"): 1 / 2, ("recall", "BCC"): 1, ("f1", "BCC"): 2 / 3,
        ("f1_macro", ""): 2 / 3, ("precision_macro", ""): 13 / 18, ("recall_macro", ""): 13 / 18,
        ("balanced_accuracy", ""): 13 / 18, ("accuracy", ""): 4 / 6, ("f1_weighted", ""): 2 / 3,
        # every confidence is 10/13, right 4 times in 6
        ("ece", ""): 10 / 13 - 4 / 6,
    }  # fmt: skip
    for (metric, name), value in expected.items():
        assert figure(table, metric, name) == pytest.approx(value, abs=1e-12), (metric, name)


def test_a_class_without_samples_is_blank_and_left_out_of_the_means() -> None:
    targets = np.array([0, 0, 1, 1])
    logits = np.array([[2, 0, 0, 0], [2, 0, 0, 0], [0, 2, 0, 0], [0, 0, 0, 2]], dtype=np.float32)
    table = metrics.evaluate("multiclass", logits, targets, CLASSES)
    for metric in ("precision", "recall", "f1", "auroc"):
        assert np.isnan(figure(table, metric, "BCC"))
        assert np.isnan(figure(table, metric, "AK"))
        assert figure(table, f"{metric}_macro") == pytest.approx(
            (figure(table, metric, "MEL") + figure(table, metric, "NV")) / 2
        )
    assert '"",auroc' not in table.to_csv(index=False)
    assert "auroc,AK,\n" in table.to_csv(index=False)


def test_a_class_never_predicted_counts_zero() -> None:
    logits = np.tile([0.0, 1.0, 0.0, 0.0], (4, 1))
    table = metrics.evaluate("multiclass", logits, np.array([0, 1, 2, 3]), CLASSES)
    assert figure(table, "precision", "MEL") == 0
    assert figure(table, "f1", "MEL") == 0
    assert figure(table, "f1_macro") == pytest.approx(0.4 / 4)
    assert figure(table, "auroc_macro") == 0.5


def test_multiclass_equals_scikit_learn() -> None:
    logits, targets = multiclass()
    table = metrics.evaluate("multiclass", logits, targets, CLASSES)
    predicted = logits.argmax(axis=1)
    scores = metrics.probabilities("multiclass", logits)
    p, r, f, _ = sk.precision_recall_fscore_support(targets, predicted, average=None)
    for c, name in enumerate(CLASSES):
        measured = [figure(table, metric, name) for metric in ("precision", "recall", "f1", "auroc")]
        assert measured == pytest.approx([p[c], r[c], f[c], sk.roc_auc_score(targets == c, scores[:, c])])
    assert figure(table, "f1_macro") == pytest.approx(sk.f1_score(targets, predicted, average="macro"))
    assert figure(table, "f1_weighted") == pytest.approx(sk.f1_score(targets, predicted, average="weighted"))
    assert figure(table, "accuracy") == pytest.approx(sk.accuracy_score(targets, predicted))
    assert figure(table, "balanced_accuracy") == pytest.approx(sk.balanced_accuracy_score(targets, predicted))
    assert figure(table, "auroc_macro") == pytest.approx(sk.roc_auc_score(targets, scores, multi_class="ovr"))


def test_multilabel_equals_scikit_learn_at_both_thresholds() -> None:
    logits, targets = multilabel()
    thresholds = np.array([0.3, 0.2, 0.4, 0.5])
    table = metrics.evaluate("multilabel", logits, targets, CLASSES, thresholds)
    scores = metrics.probabilities("multilabel", logits)
    for suffix, cut in (("", thresholds), ("_at_0.5", 0.5)):
        p, r, f, _ = sk.precision_recall_fscore_support(targets, scores >= cut, average="macro", zero_division=0)
        measured = [figure(table, f"{name}_macro{suffix}") for name in ("precision", "recall", "f1")]
        assert measured == pytest.approx([p, r, f])
    assert figure(table, "auroc_macro") == pytest.approx(sk.roc_auc_score(targets, scores, average="macro"))
    assert figure(table, "auroc", "BCC") == pytest.approx(sk.roc_auc_score(targets[:, 2], scores[:, 2]))
    assert figure(table, "f1", "NV") == pytest.approx(sk.f1_score(targets[:, 1], scores[:, 1] >= 0.2))
    assert figure(table, "threshold", "BCC") == 0.4
    assert "accuracy" not in set(table["metric"])


def test_auroc_counts_ties_half() -> None:
    scores = np.array([0.2, 0.5, 0.5, 0.9, 0.2])[:, None]
    positives = np.array([0, 1, 0, 1, 1], dtype=bool)[:, None]
    # pairs (positive, negative): .5>.2 .5=.5 .9>.2 .9>.5 .2=.2 .2<.5
    assert metrics.auroc(scores, positives) == pytest.approx([4 / 6])


def test_ece_of_closed_forms() -> None:
    assert metrics.expected_calibration_error("multiclass", np.eye(2)[[0, 1]], np.array([0, 1])) == 0
    # four samples at 0.9, half of them right; one at 0.6, right: (4 * 0.4 + 1 * 0.4) / 5
    scores = np.array([[0.9, 0.1]] * 4 + [[0.6, 0.4]])
    targets = np.array([0, 0, 1, 1, 0])
    assert metrics.expected_calibration_error("multiclass", scores, targets) == pytest.approx(0.4)
    # binary: the probability of the finding itself; class 0 is exact, class 1 is off by 0.3
    scores = np.array([[0.5, 0.3], [0.5, 0.3]])
    assert metrics.expected_calibration_error("multilabel", scores, np.array([[0, 0], [1, 0]])) == pytest.approx(0.15)


def test_ece_equals_torchmetrics() -> None:
    logits, targets = multiclass(2000)
    scores = metrics.probabilities("multiclass", logits)
    theirs = multiclass_calibration_error(torch.tensor(scores), torch.tensor(targets), num_classes=4, n_bins=15)
    assert metrics.expected_calibration_error("multiclass", scores, targets) == pytest.approx(float(theirs), abs=1e-6)
    logits, targets = multilabel(2000)
    scores = metrics.probabilities("multilabel", logits)
    theirs = [
        float(binary_calibration_error(torch.tensor(scores[:, c]), torch.tensor(targets[:, c]).long(), n_bins=15))
        for c in range(4)
    ]
    ours = metrics.expected_calibration_error("multilabel", scores, targets)
    assert ours == pytest.approx(np.mean(theirs), abs=1e-6)


@pytest.mark.parametrize(("task", "make"), [("multiclass", multiclass), ("multilabel", multilabel)])
def test_epoch_metrics_agree_with_the_full_table(task, make) -> None:
    logits, targets = make()
    table = metrics.evaluate(task, logits, targets, CLASSES)
    brief = metrics.epoch_metrics(task, logits, targets)
    assert brief["f1_macro"] == pytest.approx(figure(table, "f1_macro"))
    assert brief["auroc_macro"] == pytest.approx(figure(table, "auroc_macro"))
    z = torch.tensor(logits, dtype=torch.float64)
    if task == "multiclass":
        loss = torch.nn.functional.cross_entropy(z, torch.tensor(targets))
    else:
        loss = torch.nn.functional.binary_cross_entropy_with_logits(z, torch.tensor(targets, dtype=torch.float64))
    assert brief["loss"] == pytest.approx(float(loss))


def test_loss_is_stable_at_large_logits() -> None:
    assert metrics.epoch_metrics("multiclass", np.array([[900.0, 0.0]]), np.array([1]))["loss"] == 900
    assert metrics.epoch_metrics("multilabel", np.array([[900.0, -900.0]]), np.array([[0.0, 0.0]]))["loss"] == 450


def test_values_that_are_not_finite() -> None:
    logits = np.array([[np.nan, 0.0]])
    assert np.isnan(metrics.epoch_metrics("multiclass", logits, np.array([1]))["f1_macro"])
    with pytest.raises(ValueError, match="finite"):
        metrics.evaluate("multiclass", logits, np.array([1]), ("a", "b"))


def test_primary_metric_of_each_task() -> None:
    assert metrics.primary_metric("multiclass") == "f1_macro"
    assert metrics.primary_metric("multilabel") == "auroc_macro"
