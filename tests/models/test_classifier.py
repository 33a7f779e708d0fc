"""Classifier: normalisation, features and head, weights on disk."""

import pytest
import torch
from torch import nn

from models.classifier import Classifier, WeightsError, load_weights, save_weights
from models.networks import build


class Pool(nn.Module):
    """Mean over the pixels: (B, 3, H, W) -> (B, 3)."""

    def forward(self, pixels):
        return pixels.mean(dim=(2, 3))


@pytest.mark.parametrize(
    ("grey", "expected"),
    [
        (0.0, [-2.117904, -2.035714, -1.804444]),  # -mean / std
        (0.5, [0.065502, 0.196429, 0.417778]),
        (1.0, [2.248908, 2.428571, 2.640000]),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_constant_image_is_normalised(grey, expected, channels):
    head = nn.Linear(3, 3, bias=False)
    nn.init.eye_(head.weight)
    model = Classifier(Pool(), head)
    logits = model(torch.full((2, channels, 4, 4), grey))
    torch.testing.assert_close(logits, torch.tensor([expected, expected]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_features_and_head_are_forward(name):
    model = build(name, num_classes=3).eval()
    pixels = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        logits = model(pixels)
        features, same = model(pixels, return_features=True)
        torch.testing.assert_close(model.head(model.features(pixels)), logits)
        torch.testing.assert_close(model.head(features), logits)
    torch.testing.assert_close(same, logits)


def test_weights_survive_the_disk(tmp_path):
    path = tmp_path / "a.safetensors"
    model, other = (build("resnet18", num_classes=3) for _ in range(2))
    save_weights(model.to(memory_format=torch.channels_last).state_dict(), path)
    load_weights(other, path)
    for name, value in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name


def test_equal_weights_give_equal_bytes(tmp_path):
    model = build("mobilenet_v2", num_classes=3)
    save_weights(model.state_dict(), tmp_path / "a.safetensors")
    save_weights(model.to(memory_format=torch.channels_last).state_dict(), tmp_path / "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_weights_of_another_network(tmp_path):
    path = tmp_path / "a.safetensors"
    save_weights(build("resnet18", num_classes=3).state_dict(), path)
    with pytest.raises(WeightsError, match=r"a\.safetensors: holds another network .*number of classes"):
        load_weights(build("resnet18", num_classes=4), path)


@pytest.mark.parametrize(("content", "message"), [(None, "no such file"), (b"junk", "not a safetensors file")])
def test_unreadable_weights(tmp_path, content, message):
    path = tmp_path / "a.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WeightsError, match=rf"a\.safetensors: {message}"):
        load_weights(nn.Linear(1, 1), path)
