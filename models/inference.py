"""From stored uint8 images to a network's logits."""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

Augment = Callable[[torch.Tensor, np.ndarray], torch.Tensor]


def to_pixels(images: np.ndarray, rows: np.ndarray, device: torch.device) -> torch.Tensor:
    """Return rows of a uint8 array (N, H, W, channels) as float32 (B, channels, H, W) in [0, 1] on `device`.

    The bytes travel as uint8 and are converted on the device.
    """
    return torch.from_numpy(images[rows]).to(device).permute(0, 3, 1, 2).float().div_(255)


@torch.inference_mode()
def predict(
    model: nn.Module,
    images: np.ndarray,
    rows: np.ndarray,
    device: torch.device,
    augment: Augment | None = None,
    batch_size: int = 256,
) -> np.ndarray:
    """Return the logits of `rows`, float32 (len(rows), C), with the network in evaluation mode.

    `augment(pixels, rows)` may replace a batch's pixels by a view of them. The network's mode is left as it was.
    """
    training = model.training
    model.eval()
    parts = []
    for start in range(0, len(rows), batch_size):
        part = rows[start : start + batch_size]
        pixels = to_pixels(images, part, device)
        parts.append(model(augment(pixels, part) if augment else pixels).float().cpu())
    model.train(training)
    return torch.cat(parts).numpy()
