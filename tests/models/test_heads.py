"""Heads: their layers, and the head alone as a part of the whole network."""

import pytest
import torch
from torch import nn

from models.classifier import Classifier
from models.heads import HeadAlone, head_layers, kept_dropout, num_features
from models.names import ARCHITECTURES
from models.networks import build

LINEAR, DROPOUT, RELU = nn.Linear, nn.Dropout, nn.ReLU


@pytest.mark.parametrize(
    ("arguments", "layers", "shapes"),
    [
        ({}, [LINEAR], [(3, 8)]),
        ({"hidden": 5}, [LINEAR], [(3, 8)]),
        ({"dropout": 0.2}, [DROPOUT, LINEAR], [(3, 8)]),
        ({"kind": "mlp", "hidden": 5}, [LINEAR, RELU, LINEAR], [(5, 8), (3, 5)]),
        ({"kind": "mlp", "hidden": 5, "dropout": 0.2}, [LINEAR, RELU, DROPOUT, LINEAR], [(5, 8), (3, 5)]),
    ],
)
def test_a_head_has_these_layers(arguments, layers, shapes):
    head = head_layers(8, 3, **arguments)
    parts = [part for part in head.modules() if not isinstance(part, nn.Sequential)]
    assert [type(part) for part in parts] == layers
    assert [tuple(part.weight.shape) for part in parts if isinstance(part, LINEAR)] == shapes
    assert {part.p for part in parts if isinstance(part, DROPOUT)} == ({0.2} if "dropout" in arguments else set())
    assert num_features(head) == 8
    assert head(torch.rand(4, 8)).shape == (4, 3)


def test_an_mlp_is_two_products_with_a_relu_between_them():
    head = head_layers(4, 3, kind="mlp", hidden=6)
    first, second = (part for part in head.modules() if isinstance(part, LINEAR))
    features = torch.randn(5, 4)
    hidden = (features @ first.weight.T + first.bias).clamp(min=0)
    assert torch.allclose(head(features), hidden @ second.weight.T + second.bias, atol=1e-6)


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_the_global_random_state_decides_the_initial_weights(kind):
    states = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        states.append(head_layers(4, 3, kind=kind).state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not any(torch.equal(states[0][name], states[2][name]) for name in states[0])


@pytest.mark.parametrize("architecture", [*ARCHITECTURES, "timm:test_resnet"])
@pytest.mark.parametrize("dropout", [None, 0.3])
def test_a_head_on_features_has_the_layers_of_the_whole_network(architecture, dropout):
    network = build(architecture, num_classes=3, dropout=dropout, image_size=32)
    alone = HeadAlone(head_layers(network.num_features, 3, dropout=kept_dropout(architecture, dropout)))
    assert str(alone.head) == str(network.head)
    network.load_state_dict(alone.state_dict(), strict=False)
    assert set(alone.state_dict()) <= set(network.state_dict())


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_a_head_alone_is_what_a_network_has_behind_its_backbone(kind):
    network = Classifier(nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten()), head_layers(12, 3, kind=kind, hidden=5))
    alone = HeadAlone(head_layers(12, 3, kind=kind, hidden=5))
    own = {name for name in network.state_dict() if name.startswith("head.")}
    assert own == set(alone.state_dict())
    network.load_state_dict(alone.state_dict(), strict=False)
    pixels = torch.rand(4, 3, 6, 6)
    features, logits = network(pixels, return_features=True)
    again, of_head = alone(features, return_features=True)
    assert torch.equal(again, features)
    assert torch.equal(of_head, logits)
    assert torch.equal(alone(features), logits)
    assert alone.num_features == network.num_features == 12
