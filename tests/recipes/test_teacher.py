"""A teacher's recipe: which weights it leaves, and what decides them."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from pipeline.evaluation.predictions import read_logits
from pipeline.recipes.teacher import PREDICTIONS, WEIGHTS, teacher
from pipeline.recipes.workshop import Workshop
from pipeline.training.history import History
from pipeline.training.loop import Fitted

MEMBER = np.array([True, False, True, True])


class Bench:
    """A bench on which training takes no time, and a network answers with its weights."""

    def __init__(self) -> None:
        self.world = SimpleNamespace(leads=True)

    def train(self, *_: Any, **__: Any) -> Fitted:
        return Fitted({"weight": torch.ones(2)}, {"weight": torch.zeros(2)}, None, History())

    def predictions(self, model: Any, inputs: Any, checkpoints: dict[str, Any]) -> dict[str, Any]:
        return {name: {"test": weights["weight"].numpy()} for name, weights in checkpoints.items()}

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


def test_one_training_leaves_the_last_weights_and_those_of_the_best_epoch(workshop, make_params, tmp_path):
    shop, _ = workshop
    both = [make_params(teachers={"checkpoint": checkpoint}) for checkpoint in ("last", "selected")]
    nodes = [teacher(shop, params, 0, "subset", "resnet18") for params in both]
    assert nodes[0].key == nodes[1].key
    nodes[0].make(tmp_path, lambda epoch, metrics: None)
    answers = read_logits(tmp_path / PREDICTIONS)
    for checkpoint, value in (("last", 1.0), ("selected", 0.0)):
        assert load_file(tmp_path / WEIGHTS[checkpoint])["weight"].tolist() == [value] * 2
        assert answers[checkpoint]["test"].tolist() == [value] * 2
    assert {*nodes[0].files} == {path.name for path in tmp_path.iterdir()}


def test_the_length_in_steps_decides_teachers_of_subsets_alone(workshop, make_params):
    shop, _ = workshop
    by_length = [make_params(training={"length": length}) for length in ("epochs", "steps")]
    for pool, distinct in (("subset", 2), ("full", 1)):
        assert len({teacher(shop, params, 0, pool, "resnet18").key for params in by_length}) == distinct
