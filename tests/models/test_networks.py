"""The five architectures: shapes, stems, seeded initial weights, pretrained weights."""

from urllib.error import URLError

import pytest
import torch
from torch import nn

from models.classifier import WeightsError
from models.names import ARCHITECTURES
from models.networks import build
from models.scaled import scaled

FEATURES = {"resnet18": 512, "resnet34": 512, "resnet50": 2048, "mobilenet_v2": 1280, "densenet121": 1024}
PARAMETERS = {  # torchvision's published counts, less the head for 1000 classes
    "resnet18": 11_689_512 - 513_000,
    "resnet34": 21_797_672 - 513_000,
    "resnet50": 25_557_032 - 2_049_000,
    "mobilenet_v2": 3_504_872 - 1_281_000,
    "densenet121": 7_978_856 - 1_025_000,
}
STRIDE = {"imagenet": 32, "small": 8}
STRIDE_OF_SMALL_MOBILENET = 16


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("name", FEATURES)
def test_parameters_know_every_architecture_that_can_be_built(name, make_params):
    params = make_params(student={"architecture": name}, teachers={"architectures": [name]})
    assert (params.student.architecture, params.teachers.architectures) == (name, (name,))
    assert tuple(FEATURES) == ARCHITECTURES


@pytest.mark.parametrize("stem", ["imagenet", "small"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_shapes_sizes_and_resolution(name, stem):
    """On torch's meta device, which knows shapes alone and takes no time.

    The last convolution sees 32 px at 1/32 (imagenet), 1/8 (small) or 1/16 (small MobileNet) of their size.
    """
    sizes = []
    with torch.device("meta"):
        model = build(name, num_classes=5, stem=stem).eval()
        for module in model.backbone.modules():
            if isinstance(module, nn.Conv2d):
                module.register_forward_hook(lambda module, inputs, output: sizes.append(output.shape[-1]))
        for channels in (1, 3):
            features, logits = model(torch.rand(2, channels, 32, 32), return_features=True)
            assert features.shape == (2, FEATURES[name])
            assert logits.shape == (2, 5)
    small_mobilenet = name == "mobilenet_v2" and stem == "small"
    assert sizes[-1] == 32 // (STRIDE_OF_SMALL_MOBILENET if small_mobilenet else STRIDE[stem])
    assert count(model.head) == 5 * (FEATURES[name] + 1)
    if stem == "imagenet":
        assert count(model.backbone) == PARAMETERS[name]


def channels(model: nn.Module) -> list[int]:
    return [module.out_channels for module in model.modules() if isinstance(module, nn.Conv2d)]


@pytest.mark.parametrize("stem", ["imagenet", "small"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_quarter_of_the_channels(name, stem):
    """MobileNet-v2 keeps its last 1,280 channels and rounds to multiples of 8: 32 to 8, 24 to 8, 96 to 24."""
    with torch.device("meta"):
        published = build(name, num_classes=5, stem=stem)
        model = build(name, num_classes=5, stem=stem, width=0.25).eval()
        features, logits = model(torch.rand(2, 3, 32, 32), return_features=True)
    assert logits.shape == (2, 5)
    if name == "mobilenet_v2":
        assert features.shape == (2, 1280)
        assert channels(model)[:6] == [8, 8, 8, 48, 48, 8]
        assert channels(model)[-1] == 1280
    else:
        assert features.shape == (2, FEATURES[name] // 4)
        assert [4 * count for count in channels(model)] == channels(published)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_width_one_scaled_is_the_published_network(name):
    with torch.device("meta"):
        own, published = scaled(name, 1.0), build(name, num_classes=2).backbone
    shapes = {key: value.shape for key, value in own.state_dict().items() if not key.startswith(("fc.", "classifier."))}
    assert shapes == {key: value.shape for key, value in published.state_dict().items()}


def test_a_scaled_network_is_seeded_and_starts_as_the_published_one_does():
    """Kaiming's fan-out gives a 7x7 convolution to 16 channels the standard deviation sqrt(2 / (16 * 49))."""
    torch.manual_seed(0)
    first = build("resnet18", num_classes=3, width=0.25)
    torch.manual_seed(0)
    again = build("resnet18", num_classes=3, width=0.25)
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in first.state_dict().items())
    assert float(first.backbone.conv1.weight.detach().std()) == pytest.approx((2 / (16 * 49)) ** 0.5, rel=0.05)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_seed_decides_the_initial_weights(name):
    states = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        states.append(build(name, num_classes=3, stem="small").state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert any(not torch.equal(states[0][key], states[2][key]) for key in states[0] if key.startswith("head"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "resnet19"}, "architecture is 'resnet19'; known are resnet18, .*densenet121"),
        ({"stem": "tiny"}, "stem is 'tiny'; known are imagenet, small"),
        ({"weights": "imagenet", "width": 0.5}, r"weights is imagenet and width 0\.5; pretrained weights have width 1"),
        ({"weights": "places"}, "weights places: no such file or folder; name one, or imagenet, or null"),
        ({"name": "timm:resnet18", "stem": "small"}, "timm:resnet18, which has its own stem and width"),
    ],
)
def test_unknown_choice_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        build(**{"name": "resnet18", "num_classes": 2} | arguments)


def test_imagenet_weights_without_network(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def offline(*args, **kwargs):
        raise URLError("no route to host")

    monkeypatch.setattr("torch.hub.urlopen", offline)
    with pytest.raises(WeightsError, match=r"resnet18-f37072fd\.pth could not be loaded .*no route.*weights: null"):
        build("resnet18", num_classes=2, weights="imagenet")


@pytest.mark.parametrize(("stem", "kept"), [("imagenet", True), ("small", False)])
def test_imagenet_weights_reach_the_backbone(monkeypatch, stem, kept):
    """A fake download of constant weights: all of the backbone but a replaced first convolution starts from it."""

    def download(*args, **kwargs):
        from torchvision.models import resnet18

        return {name: torch.full_like(value, 7) for name, value in resnet18().state_dict().items()}

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", download)
    model = build("resnet18", num_classes=4, stem=stem, weights="imagenet")
    assert bool((model.backbone.layer4[1].conv2.weight == 7).all())
    assert bool((model.backbone.conv1.weight == 7).all()) is kept
    assert model.head.weight.shape == (4, 512)
    assert not bool((model.head.weight == 7).any())


@pytest.mark.parametrize(
    ("name", "arguments", "dropout"),
    [
        ("mobilenet_v2", {}, [0.2]),
        ("mobilenet_v2", {"dropout": 0.0}, []),
        ("mobilenet_v2", {"dropout": 0.4}, [0.4]),
        ("mobilenet_v2", {"head": "mlp"}, [0.2]),
        ("resnet18", {}, []),
        ("resnet18", {"dropout": 0.4}, [0.4]),
        ("resnet18", {"head": "mlp", "hidden": 7, "dropout": 0.4}, [0.4]),
        ("timm:test_resnet", {}, []),
        ("timm:test_resnet", {"head": "mlp", "dropout": 0.4}, [0.4]),
    ],
)
def test_the_head_is_as_asked_and_its_dropout_by_default_the_published_one(name, arguments, dropout):
    with torch.device("meta"):
        model = build(name, num_classes=5, **arguments)
    width = {"mobilenet_v2": 1280, "resnet18": 512, "timm:test_resnet": 96}[name]
    hidden = arguments.get("hidden", 256)
    shapes = [(hidden, width), (5, hidden)] if "head" in arguments else [(5, width)]
    assert [tuple(part.weight.shape) for part in model.head.modules() if isinstance(part, nn.Linear)] == shapes
    assert [part.p for part in model.head.modules() if isinstance(part, nn.Dropout)] == dropout
    assert model.num_features == width
