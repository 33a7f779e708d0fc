"""What a frozen backbone makes of images."""

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from torch import nn

from models.networks import build
from pipeline.common.errors import SettingError
from pipeline.data.views import Views
from pipeline.params.learning import Network
from pipeline.training.feed import open_images
from pipeline.training.inputs import Pixels, answers

Share = Callable[[np.ndarray, Callable[[np.ndarray], np.ndarray]], np.ndarray]
"""Computes a function of rows, of which each of several processes takes a share (World.answer)."""


def backbone_features(
    network: Network,
    images: np.ndarray,
    views: Views,
    view: int,
    *,
    device: torch.device,
    on_device: Literal["auto", True, False],
    share: Share,
) -> np.ndarray:
    """Return float32 (N, F): the features of all `images`, uint8 (N, H, W, channels), in one view.

    The backbone has its pretrained weights and is in evaluation mode, in float32. Raises SettingError where a feature
    is not finite in float16.
    """
    rows = np.arange(len(images))
    pixels = Pixels(open_images(images, rows, device, on_device), views, device)
    backbone = build(network.architecture, num_classes=1, weights=network.weights, image_size=images.shape[1])
    backbone.head = nn.Identity()
    backbone.to(device)
    found = share(rows, lambda own: answers(backbone, pixels, own, view, device))
    if not np.abs(found).max() <= np.finfo(np.float16).max:
        raise SettingError(
            f"features of {network.architecture} are not finite in float16; the weights {network.weights} do not fit "
            "these images"
        )
    return found
