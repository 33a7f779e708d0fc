"""What each method of a grid chooses for itself."""

import math

import pytest

from pipeline.common.errors import UserError
from pipeline.study.picks import Candidate, best


@pytest.mark.parametrize(
    ("values", "metric", "chosen"),
    [
        ([0.5, 0.7, 0.6], "f1_macro", 1),
        ([0.5, 0.7, 0.6], "loss", 0),
        ([0.7, 0.7], "auroc_macro", 0),
        ([math.nan, 0.1], "f1_macro", 1),
        ([math.nan, 0.1], "loss", 1),
        ([math.nan, math.nan], "f1_macro", 0),
    ],
)
def test_the_best_on_validation_is_chosen_and_an_undefined_one_last(values, metric, chosen):
    candidates = [Candidate({"student.lr_factor": number}, value, {}) for number, value in enumerate(values)]
    assert best(candidates, metric) is candidates[chosen]


@pytest.mark.parametrize(
    ("vary", "pick", "message"),
    [
        ([{"noise.rate": [0.2]}], "student.lr_factor", "student.lr_factor, which a block of vary leaves out"),
        ([{"noise.rate": [0.2]}], "noise.rate", "pick names noise.rate; a method chooses parameters of subsets"),
    ],
)
def test_what_cannot_be_chosen_is_named(make_params, vary, pick, message):
    with pytest.raises(UserError, match=message):
        make_params(study={"grids": {"mine": {"methods": ["roskd"], "vary": vary, "pick": [pick]}}})
