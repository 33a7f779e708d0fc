"""Networks of timm: their features, normalisation, sizes and weights, and what is refused."""

import pytest
import timm
import torch
from torch import nn

from models.errors import ModelError, WeightsError
from models.networks import build
from models.timm_networks import build_backbone, require_network
from tests.models.made_weights import made_weights, tiny

FEATURES = {"test_resnet": 96, "test_efficientnet": 256, "test_vit": 64}
NORMALISATION = {
    "test_resnet": ([0.5] * 3, [0.5] * 3),
    "test_efficientnet": ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    "test_vit": ([0.5] * 3, [0.5] * 3),
}


@pytest.mark.parametrize("name", FEATURES)
def test_a_file_gives_the_networks_own_features_of_pixels_normalised_as_it_was_trained(tmp_path, name):
    """Against timm's own way to features before the classifier, which the file holds too."""
    published = tiny(name, **({"img_size": 64} if name == "test_vit" else {}))
    path = made_weights(tmp_path / "weights.safetensors", published)
    model = build(f"timm:{name}", num_classes=5, weights=str(path), image_size=64).eval()
    pixels = torch.rand(3, 3, 64, 64)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in NORMALISATION[name])
    expected = published.forward_head(published.forward_features((pixels - mean) / std), pre_logits=True)
    features, logits = model(pixels, return_features=True)
    assert features.shape == (3, FEATURES[name])
    assert torch.allclose(features, expected, atol=1e-5)
    assert torch.allclose(logits, features @ model.head.weight.T + model.head.bias, atol=1e-5)
    assert logits.shape == (3, 5)


def test_the_head_is_as_asked_and_the_seed_decides_it_and_the_backbone():
    states = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        model = build("timm:test_resnet", num_classes=5, head="mlp", hidden=7, dropout=0.3)
        states.append(model.state_dict())
    assert [tuple(part.weight.shape) for part in model.head if isinstance(part, nn.Linear)] == [(7, 96), (5, 7)]
    assert [part.p for part in model.head if isinstance(part, nn.Dropout)] == [0.3]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    for part in ("head.", "backbone."):
        assert any(not torch.equal(states[0][name], states[2][name]) for name in states[0] if name.startswith(part))


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("test_resnets", "did you mean timm:test_resnet?"),
        ("tf_efficientnet_lite9", "did you mean timm:tf_efficientnet_lite"),
        ("qqqqqq", "timm.list_models() lists them"),
        ("test_resnet.r160_in2k", "did you mean timm:test_resnet.r160_in1k?"),
        ("tv_resnet50", "did you mean timm:resnet50?"),  # a name that timm has given up
    ],
)
def test_an_unknown_name_offers_the_nearest(name, hint):
    for refuse in (lambda: require_network(f"timm:{name}", 64), lambda: build(f"timm:{name}", num_classes=2)):
        with pytest.raises(ModelError) as error:
            refuse()
        assert str(error.value).startswith(f"architecture timm:{name}: timm has no such network; {hint}")


def test_a_network_made_for_one_size_is_made_for_that_of_the_data():
    """16 px patches: a 64 px image has 16 of them, and the class token."""
    model = build("timm:test_vit", num_classes=2, image_size=64).eval()
    assert model.backbone.pos_embed.shape == (1, 17, 64)
    assert model(torch.rand(2, 3, 64, 64)).shape == (2, 2)


@pytest.mark.parametrize(("name", "size"), [("test_vit", 100), ("test_maxvit", 100), ("test_coatnet", 100)])
def test_a_size_that_a_network_does_not_take_is_refused(name, size):
    with pytest.raises(ModelError, match=rf"timm:{name}: does not take images of data\.image_size {size} \(.+\)$"):
        require_network(f"timm:{name}", size)
    require_network(f"timm:{name}", 64)


def test_a_network_without_one_vector_for_an_image_is_refused(monkeypatch):
    maps = nn.Conv2d(3, 8, 3)
    monkeypatch.setattr(timm, "create_model", lambda *_, **__: maps.to("meta"))
    with pytest.raises(ModelError, match=r"gives features of shape \(2, 8, 62, 62\), not one vector for each image"):
        require_network("timm:test_resnet", 64)


def test_weights_of_another_network_or_size_are_refused(tmp_path):
    path = made_weights(tmp_path / "weights.safetensors", tiny("test_vit"))
    with pytest.raises(WeightsError, match=r"not those of timm:test_resnet\. missing: .* more; surplus: blocks"):
        build("timm:test_resnet", num_classes=2, weights=str(path))
    with pytest.raises(WeightsError, match=r"wrongly shaped: pos_embed \(1, 101, 64\) instead of \(1, 17, 64\)"):
        build("timm:test_vit", num_classes=2, weights=str(path), image_size=64)


def test_imagenet_asks_timm_for_its_own_weights(monkeypatch):
    asked = []

    def create(name: str, **arguments: object) -> nn.Module:
        asked.append((name, arguments))
        return made

    made = tiny(num_classes=0)
    monkeypatch.setattr(timm, "create_model", create)
    for weights in ("imagenet", None):
        assert build_backbone("timm:test_resnet", image_size=64, weights=weights) is made
    assert asked == [("test_resnet", {"pretrained": given, "num_classes": 0}) for given in (True, False)]


@pytest.mark.parametrize("error", [OSError, RuntimeError])
def test_imagenet_weights_without_a_network_are_reported_with_the_ways_out(monkeypatch, error):
    def offline(*_: object, **__: object) -> nn.Module:
        raise error("no route to host\nand more lines")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(WeightsError) as refused:
        build("timm:test_resnet", num_classes=2, weights="imagenet")
    assert str(refused.value) == (
        "weights imagenet: test_resnet could not be had from timm (no route to host). Connect to the network once, or "
        "name a file of its weights"
    )


def test_imagenet_weights_that_timm_does_not_have_are_refused():
    with pytest.raises(WeightsError, match="timm has none for botnet50ts_256; name a file, or null"):
        build("timm:botnet50ts_256", num_classes=2, weights="imagenet")
