"""Networks by name: the five of the paper, which are torchvision's, and any of timm."""

from pathlib import Path
from typing import get_args

import torch
from torch import nn

from models.classifier import Classifier
from models.errors import WeightsError
from models.heads import head_layers, kept_dropout
from models.names import ARCHITECTURES, TIMM, HeadKind, Stem
from models.pretrained import load_backbone
from models.weights_file import weights_file


def build(
    name: str,
    *,
    num_classes: int,
    stem: Stem = "imagenet",
    width: float = 1.0,
    weights: str | None = None,
    image_size: int = 224,
    head: HeadKind = "linear",
    hidden: int = 256,
    dropout: float | None = None,
) -> Classifier:
    """Return a network for `num_classes` logits; torch's global random state decides its initial weights.

    `name`: one of ARCHITECTURES, or "timm:" and a name of timm.
    `stem`: "imagenet" is torchvision's own; "small" keeps the full resolution of small images: a 3x3 convolution of
    stride 1 and no max-pooling (MobileNet-v2: stride 1 in the first convolution).
    `width`: factor on the channels of every layer, 0.125 to 2; 1 is torchvision's own network.
    `weights`: None starts from scratch. "imagenet" starts from torchvision's IMAGENET1K_V1 or timm's default weights
    (downloaded once), a path from that file, or from the file of that name in a folder; in all but the head, and the
    first convolution that the small stem replaces.
    `image_size`: for networks of timm that are made for one size.
    `head`, `hidden`, `dropout`: as in `head_layers`; dropout None is the published network's, 0.2 for MobileNet-v2.
    Raises ValueError for an unknown name, stem or weights, or weights of another width; WeightsError where they cannot
    be had.
    """
    _require("stem", stem, get_args(Stem))
    file = None if weights in (None, "imagenet") else weights_file(str(weights), name)
    if name.startswith(TIMM):
        from models.timm_networks import build_backbone, statistics

        if stem != "imagenet" or width != 1:
            raise ValueError(f"architecture is {name}, which has its own stem and width; leave imagenet and 1")
        network = build_backbone(name, image_size=image_size, weights=weights, file=file)
        num_features, (mean, std) = int(network.num_features), statistics(network)  # type: ignore[arg-type]
        own = head_layers(num_features, num_classes, kind=head, hidden=hidden, dropout=kept_dropout(name, dropout))
        return Classifier(network, own, mean, std).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    _require("architecture", name, ARCHITECTURES)
    if weights and width != 1:
        raise ValueError(f"weights is {weights} and width {width:g}; pretrained weights have width 1")
    network, num_features = _torchvision(name, stem, width, weights, file)
    kept = kept_dropout(name, dropout)
    own = head_layers(num_features, num_classes, kind=head, hidden=hidden, dropout=kept)
    # images per second on two CPU cores, channels last against first: ResNet-18 678:640, DenseNet-121 327:252 (32 px,
    # batch 64); GPUs want it, too
    return Classifier(network, own).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _torchvision(name: str, stem: Stem, width: float, weights: str | None, file: Path | None) -> tuple[nn.Module, int]:
    """One of the five without its head, and the number of its features."""
    from torchvision.models import DenseNet, MobileNetV2, ResNet  # seconds, for who builds a network alone

    from models.scaled import scaled

    network = _published(name, weights if file is None else None) if width == 1 else scaled(name, width)
    if file is not None:
        load_backbone(network, file, ("fc", "classifier"), name)
    match network:
        case ResNet():
            num_features = network.fc.in_features
            network.fc = nn.Identity()  # type: ignore[assignment]
            if stem == "small":
                network.conv1, network.maxpool = _small_convolution(network.conv1), nn.Identity()  # type: ignore[assignment]
        case DenseNet():
            num_features = network.classifier.in_features
            network.classifier = nn.Identity()  # type: ignore[assignment]
            if stem == "small":
                network.features.conv0 = _small_convolution(network.features.conv0)  # type: ignore[arg-type]
                network.features.pool0 = nn.Identity()
        case MobileNetV2():
            num_features = network.last_channel
            network.classifier = nn.Identity()  # type: ignore[assignment]
            if stem == "small":
                network.features[0][0].stride = (1, 1)  # type: ignore[index]
        case _:
            raise AssertionError(name)
    return network, num_features


def _require(what: str, value: object, allowed: tuple[object, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{what} is {value!r}; known are {', '.join(map(str, allowed))}")


def _small_convolution(replaced: nn.Conv2d) -> nn.Conv2d:
    convolution = nn.Conv2d(3, replaced.out_channels, kernel_size=3, stride=1, padding=1, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return convolution


def _published(name: str, pretrained: str | None) -> nn.Module:
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
