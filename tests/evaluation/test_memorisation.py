"""Agreement with given labels, and whether a loss still falls, in literal values."""

import numpy as np
import pytest

from pipeline.evaluation.memorisation import agreement, fall

PUBLISHED = np.array([0, 0, 1, 1, 2, 2])
GIVEN = np.array([0, 1, 1, 2, 2, 0])
ANSWERS = np.array([0, 1, 1, 1, 0, 2])
LOGITS = np.eye(3)[ANSWERS]


def test_the_share_of_given_labels_that_a_network_answers_with():
    assert agreement("multiclass", LOGITS, GIVEN, PUBLISHED) == {"clean": 2 / 3, "changed": 1 / 3}


def test_what_a_teacher_trained_on_is_told_from_what_it_never_saw():
    seen = np.array([True, True, False, False, False, True])
    assert agreement("multiclass", LOGITS, GIVEN, PUBLISHED, seen) == {
        "clean": 2 / 3, "clean_seen": 1.0, "clean_unseen": 0.5,
        "changed": 1 / 3, "changed_seen": 0.5, "changed_unseen": 0.0,
    }  # fmt: skip


def test_what_has_no_sample_is_left_out():
    everywhere = np.ones(6, dtype=bool)
    assert agreement("multiclass", LOGITS, PUBLISHED, PUBLISHED) == {"clean": 2 / 3}
    assert set(agreement("multiclass", LOGITS, GIVEN, PUBLISHED, everywhere)) == {
        "clean", "clean_seen", "changed", "changed_seen",
    }  # fmt: skip


def test_of_several_findings_those_that_are_given_count():
    """Added findings are the changed ones; a finding taken away would be repeated by a network that calls nothing."""
    published = np.array([[1, 0], [1, 1], [0, 0]], dtype=np.float32)
    given = np.array([[1, 1], [0, 1], [0, 1]], dtype=np.float32)
    logits = np.array([[3.0, 0.1], [-1.0, -1.0], [-2.0, -0.1]])
    assert agreement("multilabel", logits, given, published) == {"clean": 0.5, "changed": 0.5}
    assert agreement("multilabel", np.full((3, 2), -9.0), given, published) == {"clean": 0.0, "changed": 0.0}


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([2.0, 1.0], 0.5),
        ([2.0, 1.0, 1.0], 0.0),
        ([4.0, *[2.0] * 18, 2.0, 1.0], 0.25),  # of 21 epochs the last two
        ([1.0, 1.1], -0.1),
        ([1.0], 0.0),
    ],
)
def test_the_fall_of_a_loss_per_epoch_at_its_end(losses, expected):
    assert fall(losses) == pytest.approx(expected)
