"""The names that networks, their parameters and their exports share; no torch is needed for them."""

from typing import Literal, get_args

Architecture = Literal["resnet18", "resnet34", "resnet50", "mobilenet_v2", "densenet121"]
Stem = Literal["imagenet", "small"]
Task = Literal["multiclass", "multilabel"]

ARCHITECTURES: tuple[Architecture, ...] = get_args(Architecture)
