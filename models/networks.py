"""The five architectures, built by name."""

from typing import Literal, get_args

import torch
from torch import nn

from models.classifier import Classifier, WeightsError
from models.names import ARCHITECTURES, Architecture, Stem


def build(
    name: Architecture,
    *,
    num_classes: int,
    stem: Stem = "imagenet",
    width: float = 1.0,
    weights: Literal["imagenet"] | None = None,
) -> Classifier:
    """Return a network for `num_classes` logits; torch's global random state decides its initial weights.

    `stem`: "imagenet" is torchvision's own; "small" keeps the full resolution of small images: a 3x3 convolution of
    stride 1 and no max-pooling (MobileNet-v2: stride 1 in the first convolution).
    `width`: factor on the channels of every layer, 0.125 to 2; 1 is torchvision's own network.
    `weights`: "imagenet" starts from torchvision's IMAGENET1K_V1 weights (downloaded once), except for the head and for
    a first convolution that the small stem replaces; None starts from scratch.
    Raises ValueError for an unknown name, stem or weights, or weights of another width; WeightsError where the download
    fails.
    """
    from torchvision.models import DenseNet, MobileNetV2, ResNet  # seconds, for who builds a network alone

    from models.scaled import scaled

    _require("architecture", name, ARCHITECTURES)
    _require("stem", stem, get_args(Stem))
    _require("weights", weights, ("imagenet", None))
    if weights and width != 1:
        raise ValueError(f"weights is {weights} and width {width:g}; pretrained weights have width 1")
    network = _published(name, weights) if width == 1 else scaled(name, width)
    match network:
        case ResNet():
            head = nn.Linear(network.fc.in_features, num_classes)
            network.fc = nn.Identity()  # type: ignore[assignment]
            if stem == "small":
                network.conv1, network.maxpool = _small_convolution(network.conv1), nn.Identity()  # type: ignore[assignment]
        case DenseNet():
            head = nn.Linear(network.classifier.in_features, num_classes)
            network.classifier = nn.Identity()  # type: ignore[assignment]
            if stem == "small":
                network.features.conv0 = _small_convolution(network.features.conv0)  # type: ignore[arg-type]
                network.features.pool0 = nn.Identity()
        case MobileNetV2():
            head = nn.Sequential(nn.Dropout(0.2), nn.Linear(network.last_channel, num_classes))
            network.classifier = nn.Identity()  # type: ignore[assignment]
            if stem == "small":
                network.features[0][0].stride = (1, 1)  # type: ignore[index]
        case _:
            raise AssertionError(name)
    # images per second on two CPU cores, channels last against first: ResNet-18 678:640, DenseNet-121 327:252 (32 px,
    # batch 64); GPUs want it, too
    return Classifier(network, head).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _require(what: str, value: object, allowed: tuple[object, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{what} is {value!r}; known are {', '.join(map(str, allowed))}")


def _small_convolution(replaced: nn.Conv2d) -> nn.Conv2d:
    convolution = nn.Conv2d(3, replaced.out_channels, kernel_size=3, stride=1, padding=1, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return convolution


def _published(name: str, pretrained: Literal["imagenet"] | None) -> nn.Module:
    from torchvision.models import get_model, get_model_weights

    if pretrained is None:
        return get_model(name, weights=None)
    weights = get_model_weights(name)["IMAGENET1K_V1"]
    try:
        return get_model(name, weights=weights)
    except (OSError, RuntimeError) as error:
        raise WeightsError(
            f"weights imagenet: {weights.url} could not be loaded ({error}). Connect to the network once, or copy that "
            "file into torch's cache (TORCH_HOME, by default ~/.cache/torch, hub/checkpoints/), or set weights: null "
            "to train from scratch"
        ) from error
