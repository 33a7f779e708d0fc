"""A teacher's recipe: which weights it leaves, and what decides them."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from pipeline.recipes.teacher import WEIGHTS, teacher
from pipeline.recipes.workshop import Workshop
from pipeline.training.history import History
from pipeline.training.loop import Fitted

MEMBER = np.array([True, False, True, True])


class Bench:
    """A bench on which training takes no time; `predicted` holds the checkpoints that were asked to predict."""

    def __init__(self) -> None:
        self.world = SimpleNamespace(leads=True)
        self.predicted: dict[str, Any] = {}

    def train(self, *_: Any, **__: Any) -> Fitted:
        return Fitted({"weight": torch.ones(2)}, {"weight": torch.zeros(2)}, None, History())

    def write_predictions(self, model: Any, checkpoints: dict[str, Any], path: Any) -> None:
        self.predicted = checkpoints

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: None


@pytest.fixture
def workshop() -> tuple[Workshop, Bench]:
    given = np.array([0, 1, 0, 1])
    prepared = SimpleNamespace(rows=lambda split: np.arange(4), given=given, targets=lambda split: given)
    data: Any = SimpleNamespace(
        digest="d", prepared=lambda params: prepared, members=lambda params: {"resnet18": MEMBER, "resnet34": ~MEMBER}
    )
    store: Any = None
    shop, bench = Workshop(data, store), Bench()
    shop.bench = lambda params, seed: bench  # type: ignore[method-assign, assignment, return-value]
    return shop, bench


@pytest.mark.parametrize(("checkpoint", "weight"), [("last", 1.0), ("selected", 0.0)])
def test_the_weights_that_teach_are_those_of_the_checkpoint_asked_for(
    workshop, make_params, tmp_path, checkpoint, weight
):
    shop, bench = workshop
    node = teacher(shop, make_params(teachers={"checkpoint": checkpoint}), 0, "subset", "resnet18")
    node.make(tmp_path, lambda epoch, metrics: None)
    assert load_file(tmp_path / WEIGHTS)["weight"].tolist() == [weight] * 2
    assert bench.predicted.keys() == {checkpoint}


def test_the_length_in_steps_decides_teachers_of_subsets_alone(workshop, make_params):
    shop, _ = workshop
    by_length = [make_params(training={"length": length}) for length in ("epochs", "steps")]
    for pool, distinct in (("subset", 2), ("full", 1)):
        assert len({teacher(shop, params, 0, pool, "resnet18").key for params in by_length}) == distinct


def test_the_checkpoint_decides_a_teacher(workshop, make_params):
    shop, _ = workshop
    both = [make_params(teachers={"checkpoint": checkpoint}) for checkpoint in ("last", "selected")]
    assert len({teacher(shop, params, 0, "full", "resnet18").key for params in both}) == 2
