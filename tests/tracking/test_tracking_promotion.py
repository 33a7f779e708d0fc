"""The decision: what must be beyond the interval, by which metric, and what a forced promotion says."""

import numpy as np
import pytest

from pipeline.tracking.promotion import Answered, Verdict, compare, forced, intervals

N = 40


def answered(right: int, groups: np.ndarray | None = None, targets: np.ndarray | None = None) -> Answered:
    """N samples of two classes, of which the last `right` are classified correctly."""
    truth = np.arange(N) % 2 if targets is None else targets
    groups = np.arange(N).astype(str) if groups is None else groups
    return Answered("multiclass", logits_of(right, truth), truth, groups, (logits_of(right, truth), truth))


def logits_of(right: int, truth: np.ndarray) -> np.ndarray:
    return np.eye(2)[np.where(np.arange(N) >= N - right, truth, 1 - truth)]


@pytest.mark.parametrize(
    ("ours", "theirs", "outcome"),
    [(38, 30, "better"), (31, 30, "kept"), (30, 30, "kept"), (20, 30, "kept")],
)
def test_better_is_what_lies_beyond_the_interval(ours, theirs, outcome):
    truth = np.arange(N) % 2
    assert compare(answered(ours), logits_of(theirs, truth), "7", "f1_macro", 0).outcome == outcome


def test_groups_are_resampled_whole():
    """Eight better answers of as many patients are beyond the interval, eight of one patient are not."""
    truth, one_patient = np.arange(N) % 2, np.where((np.arange(N) >= 2) & (np.arange(N) < 10), 2, np.arange(N))
    better = compare(answered(38, one_patient.astype(str)), logits_of(30, truth), "7", "f1_macro", 0)
    assert better.outcome == "kept"
    assert "+0.0000 to" in better.reason
    assert "over 33 groups" in better.reason


def test_the_same_data_and_seed_give_the_same_words():
    first, again = (compare(answered(38), answered(30).logits, "7", "auroc_macro", 3) for _ in range(2))
    assert first == again
    assert first.reason.startswith("val/auroc_macro 0.9500 against 0.7500 of version 7: +0.2000, 95 % interval +0.")


def test_findings_are_called_at_thresholds_tuned_for_each():
    """A version whose probabilities are all low is as good as another, once its threshold is low."""
    truth = np.stack([np.arange(N) % 2, np.arange(N) // 2 % 2], axis=1)
    logits = np.where(truth > 0, 2.0, -2.0)
    ours = Answered("multilabel", logits - 5, truth, np.arange(N).astype(str), (logits - 5, truth))
    verdict = compare(ours, logits, "7", "f1_macro", 0)
    assert verdict.reason.startswith("val/f1_macro 1.0000 against 1.0000 of version 7: +0.0000")


def test_what_is_undefined_is_not_compared():
    one_class = answered(40, targets=np.zeros(N, dtype=int))
    verdict = compare(one_class, one_class.logits, "7", "auroc_macro", 0)
    assert verdict == Verdict("not compared", "not compared with version 7: val/auroc_macro is undefined here")


def test_force_leaves_a_promotion_as_it_is():
    for outcome in ("first", "better"):
        assert forced(Verdict(outcome, "why")) == Verdict(outcome, "why")
    for outcome in ("kept", "not compared"):
        assert forced(Verdict(outcome, "why")) == Verdict("forced", "registry.force is true; why")
        assert not Verdict(outcome, "why").promoted
    assert forced(Verdict("kept", "why")).promoted


def test_intervals_hold_their_figures():
    found = intervals(answered(30), ("f1_macro", "auroc_macro"), 0)
    assert {name: interval.value for name, interval in found.items()} == {"f1_macro": 0.75, "auroc_macro": 0.75}
    assert all(0.55 < interval.low < 0.75 < interval.high < 0.9 for interval in found.values())
