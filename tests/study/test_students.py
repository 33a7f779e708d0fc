"""What students reached, in numbers; taken from the store where the same were trained before; and a grid's workers."""

import numpy as np
import pytest

from pipeline.common.errors import UserError
from pipeline.data.prepared import Prepared
from pipeline.study.students import Outcome


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
    return Outcome(prepared, {"smoothed": right, "last": wrong}, 1.0)


def test_figures_are_those_of_the_checkpoint_and_split():
    own = outcome([0, 1, 1, 0])
    assert own.headline("smoothed")["test/f1_macro"] == own.headline("smoothed")["val/auroc_macro"] == 1
    assert own.headline("last")["test/f1_macro"] == 0
    assert own.value("f1_macro", "smoothed") == 1
    assert own.value("loss", "smoothed") == pytest.approx(np.log1p(np.exp(-4)))


def test_a_metric_that_is_not_defined_is_an_error_that_names_it():
    own = outcome([0, 0, 0, 0])
    assert own.value("f1_macro", "smoothed") == 1
    with pytest.raises(UserError, match=r"study\.metric auroc_macro is not defined on the validation split"):
        own.value("auroc_macro", "smoothed")
