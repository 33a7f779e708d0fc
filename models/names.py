"""The names that networks, their parameters and their exports share; no torch is needed for them."""

from typing import Literal, get_args

Published = Literal["resnet18", "resnet34", "resnet50", "mobilenet_v2", "densenet121"]
Stem = Literal["imagenet", "small"]
HeadKind = Literal["linear", "mlp"]
Task = Literal["multiclass", "multilabel"]

ARCHITECTURES: tuple[Published, ...] = get_args(Published)
"""The five networks of the paper, which are torchvision's."""
TIMM = "timm:"
"""What the name of every other network begins with: timm:tf_efficientnet_lite0."""
