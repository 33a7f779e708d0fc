"""The names of the networks, for modules that need no torch."""

from typing import Literal, get_args

Architecture = Literal["resnet18", "resnet34", "resnet50", "mobilenet_v2", "densenet121"]
Stem = Literal["imagenet", "small"]

ARCHITECTURES: tuple[Architecture, ...] = get_args(Architecture)
