"""Figures under shift: closed forms of the corruption error, and scikit-learn's balanced accuracy."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score

from pipeline.evaluation.bootstrap import Draws, draw
from pipeline.evaluation.metrics import probabilities
from pipeline.evaluation.shift import (
    CORRUPTION_COLUMNS,
    EXTERNAL_COLUMNS,
    corruption_error,
    corruption_rows,
    external_rows,
    shift_figures,
)


def draws_of(n: int, resamples: int = 20) -> Draws:
    return draw(np.arange(n), 1, np.random.default_rng(0), resamples=resamples)


def test_the_error_of_one_class_per_image_is_one_minus_the_mean_recall():
    rng = np.random.default_rng(1)
    targets = rng.choice(3, size=200, p=(0.8, 0.15, 0.05))
    logits = rng.normal(size=(200, 3)) + np.eye(3)[targets]
    draws = draws_of(200)
    found = shift_figures("multiclass", logits, targets, draws)
    assert list(found) == ["f1_macro", "auroc_macro", "error"]
    for r in (0, 1, 7):
        rows = np.repeat(np.arange(200), draws.counts[:, r])
        called = logits[rows].argmax(axis=1)
        assert found["error"][r] == pytest.approx(1 - balanced_accuracy_score(targets[rows], called))
        assert found["f1_macro"][r] == pytest.approx(f1_score(targets[rows], called, average="macro"))


def test_the_error_of_several_findings_is_the_mean_balanced_error_at_the_thresholds():
    rng = np.random.default_rng(1)
    targets = (rng.random((150, 2)) < (0.2, 0.5)).astype(np.float32)
    logits, cuts = rng.normal(size=(150, 2)) + targets, np.array([0.6, 0.45])
    draws = draws_of(150)
    found = shift_figures("multilabel", logits, targets, draws, cuts)["error"]
    for r in (0, 5):
        rows = np.repeat(np.arange(150), draws.counts[:, r])
        called = probabilities("multilabel", logits[rows]) >= cuts
        right = [balanced_accuracy_score(targets[rows, c], called[:, c]) for c in (0, 1)]
        assert found[r] == pytest.approx(1 - np.mean(right))


def test_the_corruption_error_is_a_ratio_of_sums():
    """Severities 0.2 and 0.4 against 0.4 and 0.8; not the mean of ratios where these differ."""
    assert corruption_error(np.array([[0.2], [0.4]]), np.array([[0.4], [0.8]])) == pytest.approx([0.5])
    assert corruption_error(np.array([[0.1], [0.5]]), np.array([[0.2], [0.2]])) == pytest.approx([1.5])
    own = np.array([[0.3, 0.2], [0.1, 0.4]])
    assert corruption_error(own, own) == pytest.approx([1, 1])
    assert np.isnan(corruption_error(np.array([[0.2]]), np.array([[0.0]]))).all()


def flat(**values: float) -> dict[str, np.ndarray]:
    """Figures that every resample has."""
    return {name: np.full(21, value) for name, value in values.items()}


OWN = {
    ("clean", 0): flat(f1_macro=0.9, auroc_macro=0.95, error=0.1),
    ("jpeg", 1): flat(f1_macro=0.8, auroc_macro=0.9, error=0.2),
    ("jpeg", 5): flat(f1_macro=0.6, auroc_macro=0.8, error=0.4),
    ("ruler", 1): flat(f1_macro=0.7, auroc_macro=np.nan, error=0.3),
    ("ruler", 5): flat(f1_macro=0.5, auroc_macro=np.nan, error=0.6),
}
REFERENCE = {
    ("clean", 0): flat(f1_macro=0.8, auroc_macro=0.9, error=0.2),
    ("jpeg", 1): flat(f1_macro=0.7, auroc_macro=0.8, error=0.4),
    ("jpeg", 5): flat(f1_macro=0.4, auroc_macro=0.7, error=0.8),
    ("ruler", 1): flat(f1_macro=0.6, auroc_macro=0.6, error=0.3),
    ("ruler", 5): flat(f1_macro=0.6, auroc_macro=0.6, error=0.3),
}


def test_the_table_has_each_severity_the_means_and_the_mean_corruption_error():
    rows = corruption_rows(OWN, REFERENCE, draws_of(10))
    assert {tuple(row) for row in rows} == {CORRUPTION_COLUMNS}
    found = {(row["kind"], row["severity"], row["metric"]): row["value"] for row in rows}
    assert found["clean", 0, "f1_macro"] == 0.9
    assert found["jpeg", 5, "error"] == 0.4
    assert found["jpeg", "mean", "f1_macro"] == pytest.approx(0.7)
    assert found["jpeg", "mean", "ce"] == pytest.approx(0.6 / 1.2)
    assert found["ruler", "mean", "ce"] == pytest.approx(0.9 / 0.6)
    assert found["all", "mean", "ce"] == pytest.approx((0.5 + 1.5) / 2)
    assert found["all", "mean", "error"] == pytest.approx((0.3 + 0.45) / 2)
    assert found["all", "mean", "auroc_macro"] == pytest.approx(0.85), "a kind without AUROC is left out"
    assert ("clean", "mean", "error") not in found
    assert len(rows) == 5 * 3 + 2 * 4 + 4


def test_the_reference_itself_has_a_mean_corruption_error_of_one_and_without_one_errors_stay_absolute():
    rows = corruption_rows(REFERENCE, REFERENCE, draws_of(10))
    (one,) = (row for row in rows if (row["kind"], row["metric"]) == ("all", "ce"))
    assert (one["value"], one["low"], one["high"]) == (1, 1, 1)
    assert {row["metric"] for row in corruption_rows(OWN, None, draws_of(10))} == {"f1_macro", "auroc_macro", "error"}


def test_intervals_come_from_the_resamples():
    values = np.concatenate([[0.5], np.linspace(0, 1, 20)])
    draws = draws_of(30)
    (row,) = external_rows("external", {"f1_macro": values}, draws)
    assert tuple(row) == EXTERNAL_COLUMNS
    assert (row["value"], row["n_groups"]) == (0.5, 30)
    assert (row["low"], row["high"]) == pytest.approx(np.quantile(values[1:], [0.025, 0.975], method="weibull"))
