"""What students reached, in numbers, and what is said where a number is not defined."""

import numpy as np
import pytest

from pipeline.common.errors import UserError
from pipeline.data.prepared import Prepared
from pipeline.study.headline import headline, value_of
from pipeline.study.outcome import Outcome


def outcome(val_labels: list[int]) -> Outcome:
    """Two training samples, four of validation and four of test; the smoothed student is right about all of them."""
    given = np.array([0, 1, *val_labels, 0, 1, 0, 1])
    prepared = Prepared(
        task="multiclass",
        classes=("NV", "DF"),
        images=np.zeros((10, 1, 1, 1), dtype=np.uint8),
        sample_ids=np.arange(10).astype(str),
        groups=np.arange(10).astype(str),
        split=np.array(["train"] * 2 + ["val"] * 4 + ["test"] * 4),
        given=given,
        published=given,
    )
    right = {split: 4.0 * np.eye(2)[prepared.targets(split)] for split in ("val", "test")}
    wrong = {split: -answers for split, answers in right.items()}
    return Outcome(prepared, {"smoothed": right, "last": wrong}, [], 1.0)


def test_figures_are_those_of_the_checkpoint_and_split():
    own = outcome([0, 1, 1, 0])
    assert headline(own, "smoothed")["test/f1_macro"] == headline(own, "smoothed")["val/auroc_macro"] == 1
    assert headline(own, "last")["test/f1_macro"] == 0
    assert value_of(own, "f1_macro") == 1
    assert value_of(own, "loss") == pytest.approx(np.log1p(np.exp(-4)))


def test_a_metric_that_never_appears_is_told():
    own = outcome([0, 0, 0, 0])
    assert value_of(own, "f1_macro") == 1
    with pytest.raises(UserError, match=r"study\.metric auroc_macro is not defined on the validation split"):
        value_of(own, "auroc_macro")
