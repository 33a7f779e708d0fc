"""Agreement with given labels, and whether a loss still falls, in literal values."""

import numpy as np
import pytest

from pipeline.evaluation.memorisation import agreement, fall

PUBLISHED = np.array([0, 0, 1, 1, 2, 2])
GIVEN = np.array([0, 1, 1, 2, 2, 0])
ANSWERS = np.array([0, 1, 1, 1, 0, 2])
LOGITS = np.eye(3)[ANSWERS]
FLIPPED = GIVEN != PUBLISHED


def test_the_share_of_given_labels_that_a_network_answers_with():
    found = agreement("multiclass", LOGITS, GIVEN, PUBLISHED, FLIPPED)
    assert found == pytest.approx({"clean": 2 / 3, "changed": 1 / 3, "chance": (1 / 3) / 2})


def test_a_persons_correction_is_no_wrong_label():
    corrected = np.array([False, True, False, False, False, False])
    found = agreement("multiclass", LOGITS, GIVEN, PUBLISHED, FLIPPED & ~corrected)
    assert found["changed"] == 0.0
    assert "changed" not in agreement("multiclass", LOGITS, GIVEN, PUBLISHED, np.zeros(6, dtype=bool))


def test_what_a_teacher_trained_on_is_told_from_what_it_never_saw():
    seen = np.array([True, True, False, False, False, True])
    found = agreement("multiclass", LOGITS, GIVEN, PUBLISHED, FLIPPED, seen)
    assert found == pytest.approx({
        "clean": 2 / 3, "clean_seen": 1.0, "clean_unseen": 0.5,
        "changed": 1 / 3, "changed_seen": 0.5, "changed_unseen": 0.0, "chance": 1 / 6,
    })  # fmt: skip


def test_what_has_no_sample_is_left_out():
    everywhere = np.ones(6, dtype=bool)
    assert set(agreement("multiclass", LOGITS, PUBLISHED, PUBLISHED, ~everywhere)) == {"clean", "chance"}
    assert set(agreement("multiclass", LOGITS, GIVEN, PUBLISHED, FLIPPED, everywhere)) == {
        "clean", "clean_seen", "changed", "changed_seen", "chance",
    }  # fmt: skip


def test_of_several_findings_those_that_are_given_count():
    """Added findings are the changed ones; a finding taken away would be repeated by a network that calls nothing."""
    published = np.array([[1, 0], [1, 1], [0, 0]], dtype=np.float32)
    given = np.array([[1, 1], [0, 1], [0, 1]], dtype=np.float32)
    logits = np.array([[3.0, 0.1], [-1.0, -1.0], [-2.0, -0.1]])
    flipped = np.ones(3, dtype=bool)
    assert agreement("multilabel", logits, given, published, flipped) == {"clean": 0.5, "changed": 0.5, "chance": 0.0}
    silent = agreement("multilabel", np.full((3, 2), -9.0), given, published, flipped)
    assert silent == {"clean": 0.0, "changed": 0.0, "chance": 0.0}
    assert agreement("multilabel", np.full((3, 2), 9.0), given, published, flipped)["chance"] == 1.0


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([2.0, 1.0], 1.0),
        ([2.0, 1.0, 1.0], 0.0),
        ([5.0, *[2.0] * 18, 2.0, 1.0], 0.125),  # a quarter of the way in the last two of 21 epochs
        ([5.0, 0.9, 1.0], -0.025),
        ([1.0, 1.1], 0.0),
        ([1.0], 0.0),
        ([0.4, 0.01, -0.3], 0.31 / 0.7),  # a loss may be negative
        ([2.0, 0.010, 0.009], 0.001 / 1.991),
    ],
)
def test_the_fall_of_a_loss_per_epoch_at_its_end(losses, expected):
    assert fall(losses) == pytest.approx(expected)
