"""The names that networks, their parameters and their exports share; no torch is needed for them."""

from typing import Literal, cast, get_args

Architecture = Literal["resnet18", "resnet34", "resnet50", "mobilenet_v2", "densenet121"]
Stem = Literal["imagenet", "small"]
Task = Literal["multiclass", "multilabel"]

PARTITION = "-p"
"""Stands between a teacher's architecture and the number of its partition, from the second on: resnet18-p2."""


def architecture_of(teacher: str) -> Architecture:
    """Return the network of a teacher, by the teacher's name."""
    return cast("Architecture", teacher.partition(PARTITION)[0])


ARCHITECTURES: tuple[Architecture, ...] = get_args(Architecture)
