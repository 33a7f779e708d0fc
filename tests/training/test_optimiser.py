"""Optimisers, learning rates and their schedule, as closed forms; and a frozen backbone, bit for bit."""

import math
from typing import Any

import pytest
import torch
from torch import nn

from models.classifier import Classifier
from models.heads import HeadAlone, head_layers
from pipeline.distillation.losses import Balance
from pipeline.distillation.objective import Batch, Supervised
from pipeline.params.learning import TrainingParams
from pipeline.training.loop import fit, seeded_model
from pipeline.training.optimiser import is_frozen, lr_factor, make_optimiser, make_scheduler, set_training
from pipeline.training.resume import ResumeFile
from tests.training.tiny import CPU, C, learner, same, schedule, small_network, trained, training_set


def settings(epochs: int = 4, **changes: Any) -> TrainingParams:
    return schedule(epochs=epochs).params.model_copy(update=changes)


QUARTER = 0.5 + math.sqrt(0.125)
"""Half a cosine at a quarter of the way, (1 + cos(pi / 4)) / 2."""


@pytest.mark.parametrize(
    ("epochs", "steps", "changes", "expected"),
    [
        (10, 3, {"decay_at": (0.5, 0.8)}, {0: 1, 14: 1, 15: 0.1, 23: 0.1, 24: 0.01, 29: 0.01, 30: 0.01}),
        (5, 4, {"decay_at": (0.7,)}, {15: 1, 16: 0.1}),  # epoch 3.5 is rounded to the even 4
        (5, 4, {"decay_at": (0.68,)}, {11: 1, 12: 0.1}),
        (4, 2, {"decay_at": ()}, {0: 1, 7: 1}),
        (4, 2, {"decay_at": (0.5,), "lr_warmup": 0.25}, {0: 0.5, 1: 1, 2: 1, 3: 1, 4: 0.1, 7: 0.1}),
        (4, 5, {"decay_at": (0.5,), "lr_warmup": 0.2}, {0: 0.25, 1: 0.5, 2: 0.75, 3: 1, 4: 1, 10: 0.1}),
        (4, 2, {"decay": "cosine"}, {0: 1, 2: QUARTER, 4: 0.5, 6: 1 - QUARTER, 8: 0}),
        (5, 2, {"decay": "cosine", "lr_warmup": 0.2}, {0: 0.5, 1: 1, 2: 1, 4: QUARTER, 6: 0.5, 8: 1 - QUARTER, 10: 0}),
        (2, 1, {"decay": "cosine", "decay_at": (0.5,)}, {0: 1, 1: 0.5, 2: 0}),
        (4, 1, {"decay": "cosine", "lr_warmup": 0.9}, {0: 1 / 3, 2: 1, 3: 1, 4: 0}),  # one step at least decays
    ],
)
def test_the_factor_on_the_learning_rate(epochs, steps, changes, expected):
    factor = lr_factor(settings(epochs, **changes), steps)
    assert {step: factor(step) for step in expected} == pytest.approx(expected, abs=1e-12)


def one_weight(**changes: Any) -> list[float]:
    """The weight 1 after each of two steps with the gradient 1/2."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.ones_(model.weight)
    optimiser = make_optimiser(model, settings(lr=0.1, weight_decay=0.5, **changes))
    values = []
    for _ in range(2):
        optimiser.zero_grad()
        (0.5 * model.weight).sum().backward()
        optimiser.step()
        values.append(float(model.weight.detach()))
    return values


def test_steps_of_sgd_are_those_of_its_formula():
    """v = 0.9 v + g + 0.5 w: 1, then 0.9 + 0.95; w = 1 - 0.1 v."""
    assert one_weight(optimiser="sgd", momentum=0.9) == pytest.approx([0.9, 0.715])
    assert one_weight(optimiser="sgd", momentum=0.0) == pytest.approx([0.9, 0.805])


def test_steps_of_adamw_are_those_of_its_formula():
    """With one gradient throughout each step is lr, after the decay by lr times 0.5: 0.95 w - 0.1."""
    assert one_weight(optimiser="adamw") == pytest.approx([0.85, 0.7075], abs=1e-6)


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
@pytest.mark.parametrize(
    ("backbone_lr", "expected"),
    [
        (1.0, {"all": 0.2}),
        (0.1, {"head": 0.2, "backbone": 0.02}),
        (0.0, {"head": 0.2}),
        (3.0, {"head": 0.2, "backbone": 0.6}),
    ],
)
def test_each_part_has_its_own_learning_rate(kind, backbone_lr, expected):
    model = small_network()
    params = settings(optimiser=kind, lr=0.2, backbone_lr=backbone_lr, weight_decay=0.03, decay_at=(0.25,))
    optimiser = make_optimiser(model, params)
    of_part = {"all": model.parameters(), "head": model.head.parameters(), "backbone": model.backbone.parameters()}
    found = {frozenset(map(id, group["params"])): group["lr"] for group in optimiser.param_groups}
    assert found == {frozenset(map(id, of_part[part])): pytest.approx(lr) for part, lr in expected.items()}
    assert {group["weight_decay"] for group in optimiser.param_groups} == {0.03}
    assert is_frozen(model) is (backbone_lr == 0)
    assert all(value.requires_grad for value in model.head.parameters())
    scheduler = make_scheduler(optimiser, params, steps=1)
    optimiser.step()
    scheduler.step()
    assert scheduler.get_last_lr() == pytest.approx([lr / 10 for lr in expected.values()])


def test_a_pairs_two_backbones_have_the_backbones_learning_rate():
    pair = learner("co_teaching")
    optimiser = make_optimiser(pair, settings(lr=0.2, backbone_lr=0.5))
    sizes = {group["lr"]: len(group["params"]) for group in optimiser.param_groups}
    assert sizes == {0.2: 2 * 2, 0.1: 2 * 3}


def test_a_head_alone_has_no_backbone_to_freeze():
    model = HeadAlone(head_layers(4, 3))
    optimiser = make_optimiser(model, settings(lr=0.2, backbone_lr=0.0))
    assert [(group["lr"], len(group["params"])) for group in optimiser.param_groups] == [(0.2, 2)]
    assert not is_frozen(model)
    assert all(value.requires_grad for value in model.parameters())


@pytest.mark.parametrize("kind", ["supervised", "co_teaching"])
def test_a_frozen_backbone_is_in_evaluation_mode_and_its_head_in_training_mode(kind):
    model = learner(kind)
    networks = [part for part in model.modules() if isinstance(part, Classifier)]
    set_training(model)
    assert all(part.training for part in model.modules())
    make_optimiser(model, settings(backbone_lr=0.0))
    model.eval()
    set_training(model)
    assert len(networks) == (2 if kind == "co_teaching" else 1)
    for network in networks:
        assert all(part.training for part in network.head.modules())
        assert not any(part.training for part in network.backbone.modules())


class Falling(Supervised):
    """A loss whose gradient is 1 in each bias of the last layer, which it notes after each step."""

    def __init__(self) -> None:
        super().__init__("multiclass", Balance())
        self.biases: list[float] = []

    def loss(self, batch: Batch, features: torch.Tensor, logits: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"total": logits.mean(dim=0).sum()}

    def after_step(self, batch: Batch, model: nn.Module) -> None:
        self.biases.append(float(model.head.bias[0].detach()))  # type: ignore[index, union-attr]


def test_the_loop_takes_each_step_at_its_own_learning_rate(tmp_path):
    """45 samples are five steps an epoch: two of warm-up, then eight down half a cosine."""
    model = Classifier(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), nn.Linear(3, C))
    nn.init.zeros_(model.head.bias)
    params = settings(2, lr=0.5, momentum=0.0, weight_decay=0.0, lr_warmup=0.2, decay="cosine")
    loss = Falling()
    fit(model, training_set(), loss, schedule(params=params), CPU, ResumeFile(tmp_path / "r.pt"))
    cosine = [0.5 * (1 + math.cos(math.pi * step / 8)) for step in range(8)]
    falls = [before - after for before, after in zip([0.0, *loss.biases], loss.biases, strict=False)]
    assert falls == pytest.approx([0.5 * factor for factor in (0.5, 1.0, *cosine)], abs=1e-5)


@pytest.mark.parametrize("kind", ["supervised", "stochastic", "reinforced", "elr", "co_teaching"])
def test_a_frozen_backbone_is_the_same_bit_for_bit_in_all_weights_while_its_head_learns(tmp_path, kind):
    initial = {name: value.clone() for name, value in learner(kind).state_dict().items()}
    fitted = trained(tmp_path, kind, tmp_path / "r.pt", params=settings(backbone_lr=0.0))
    for weights in (fitted.last, fitted.selected, fitted.smoothed):
        assert weights is not None
        assert weights.keys() == initial.keys()
        for name, value in weights.items():
            assert torch.equal(value, initial[name]) is ("backbone." in name), name


def test_statistics_of_a_backbone_that_is_trained_follow_the_images(tmp_path):
    """So that the test above can fail."""
    initial = learner("supervised").state_dict()
    fitted = trained(tmp_path, "supervised", tmp_path / "r.pt", params=settings(backbone_lr=0.1))
    for weights in (fitted.last, fitted.smoothed):
        assert weights is not None
        assert not torch.equal(weights["backbone.1.running_mean"], initial["backbone.1.running_mean"])


@pytest.mark.parametrize(
    "changes",
    [
        {"backbone_lr": 0.0},
        {"backbone_lr": 0.1, "optimiser": "adamw", "lr": 0.01},
        {"decay": "cosine", "lr_warmup": 0.3, "optimiser": "adamw", "lr": 0.01},
    ],
)
def test_a_killed_training_ends_like_an_unbroken_one_whatever_its_optimiser(tmp_path, changes):
    def kill(epoch: int, metrics: dict[str, float]) -> None:
        if epoch == 2:
            raise KeyboardInterrupt

    params = settings(**changes)
    whole = trained(tmp_path, "supervised", tmp_path / "whole.pt", params=params)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path, "supervised", tmp_path / "broken.pt", params=params, on_epoch=kill)
    assert same(whole, trained(tmp_path, "supervised", tmp_path / "broken.pt", params=params))


def test_a_gentle_backbone_takes_a_tenth_of_the_step(tmp_path):
    moved = {}
    for factor in (1.0, 0.1):
        model = seeded_model(lambda: small_network(dropout=0.0), 0, "student")
        initial = {name: value.clone() for name, value in model.named_parameters()}
        params = settings(1, backbone_lr=factor, batch_size=45, momentum=0.0, weight_decay=0.0, decay_at=())
        loss = Supervised("multiclass", Balance())
        fit(model, training_set(), loss, schedule(params=params), CPU, ResumeFile(tmp_path / f"{factor}.pt"))
        moved[factor] = {name: value.detach() - initial[name] for name, value in model.named_parameters()}
    for name, step in moved[1.0].items():
        assert torch.allclose(moved[0.1][name], step * (0.1 if "backbone." in name else 1), atol=1e-6)
        assert step.abs().max() > 1e-4
