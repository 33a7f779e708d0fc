"""A teacher's recipe: which weights it leaves, and what decides them."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from pipeline.distillation.losses import supervised_loss
from pipeline.distillation.objective import Batch
from pipeline.distillation.rivals import rival_objective
from pipeline.evaluation.predictions import read_logits
from pipeline.recipes.teacher import PREDICTIONS, WEIGHTS, teacher
from pipeline.recipes.workshop import Workshop
from pipeline.training.history import History
from pipeline.training.loop import Fitted
from pipeline.training.world import World

MEMBER = np.array([True, False, True, True])


class Bench:
    """A bench on which training takes no time, and a network answers with its weights."""

    prepared: Any
    device: torch.device
    objective: Any = None

    def __init__(self) -> None:
        self.world: Any = SimpleNamespace(leads=True)

    def train(self, model: Any, data: Any, objective: Any, **_: Any) -> Fitted:
        self.objective = objective
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


def key(workshop, params) -> str:
    return teacher(workshop[0], params, 0, "subset", "resnet18").key


def test_the_loss_decides_with_the_parameters_that_are_its_own(workshop, make_params):
    losses = ["cross_entropy", "label_smoothing", "gce", "sce", "elr"]
    keys = {loss: key(workshop, make_params(teachers={"loss": loss})) for loss in losses}
    assert len(set(keys.values())) == len(losses)
    rivals = {"gce_q": 0.5}
    changed = {loss: key(workshop, make_params(teachers={"loss": loss}, rivals=rivals)) for loss in losses}
    assert {loss for loss in losses if changed[loss] != keys[loss]} == {"gce"}


@pytest.mark.parametrize("loss", ["label_smoothing", "gce", "sce", "elr"])
def test_a_teacher_minimises_its_loss(workshop, make_params, tmp_path, loss):
    shop, bench = workshop
    params = make_params(teachers={"loss": loss})
    bench.prepared, bench.device = SimpleNamespace(classes=("a", "b", "c")), torch.device("cpu")
    bench.world = World(bench.device)
    bench.training_set = lambda inputs, member: SimpleNamespace(rows=np.flatnonzero(member))
    teacher(shop, params, 0, "subset", "resnet18").make(tmp_path, lambda epoch, metrics: None)
    logits, targets = torch.randn(2, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 2])
    batch = Batch(torch.zeros(2, 1), targets, torch.tensor([2, 1]), 0, 0, 0)
    expected = rival_objective(loss, params, (3, 3), bench.device, bench.world)
    found = [objective.loss(batch, logits, logits)["total"] for objective in (bench.objective, expected)]
    assert found[0] == found[1] != pytest.approx(float(supervised_loss(logits, targets, "multiclass").mean()))
