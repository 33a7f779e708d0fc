"""From stored uint8 images to a network's logits."""

from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

CPU_PIXELS, CPU_BATCH, LARGEST_BATCH = 2**19, 256, 1024
"""On a processor batches are kept so small that a layer's output is still in its caches when the next layer reads it.

Images a second at 128 px, two cores, in batches of 256 and of 32: ResNet-18 143 and 157, MobileNet-v2 162 and 312,
DenseNet-121 54 and 81, EfficientNet-lite0 157 and 354. Small networks on small images gain nothing: MobileNet-v2 of a
quarter of the width at 64 px has 3,675 and 5,469 in batches of 256 and 128, ResNet-18 6,458 and 6,069.
"""
BYTES_PER_PIXEL = 4096
"""What one pixel of the input takes in a forward pass, from above: ResNet-50 with the small stem in float32."""


class Images(Protocol):
    """Stored images, uint8 (N, H, W, channels), that come to a device batch by batch."""

    shape: tuple[int, ...]

    def read(self, batches: Sequence[np.ndarray]) -> Generator[Tensor, None, None]:
        """Yield the images of each batch of rows, uint8 (B, H, W, channels) on the device, in the order given."""
        ...


class PlainImages:
    """Reads each batch from the array, or memory map, when it is asked for."""

    def __init__(self, images: np.ndarray, device: torch.device) -> None:
        self.shape: tuple[int, ...] = images.shape
        self._images, self._device = images, device

    def read(self, batches: Sequence[np.ndarray]) -> Generator[Tensor, None, None]:
        """Yield batch after batch."""
        for rows in batches:
            yield to_device(self._images[rows], self._device)


def as_images(images: np.ndarray | Images, device: torch.device) -> Images:
    """Return what reads `images` onto the device; an array is read plainly."""
    return PlainImages(images, device) if isinstance(images, np.ndarray) else images


def to_device(values: np.ndarray | Tensor, device: torch.device) -> Tensor:
    """Copy to the device; a GPU gets it from pinned memory, in its turn, so that the host need not wait."""
    values = torch.from_numpy(values) if isinstance(values, np.ndarray) else values
    return values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values.to(device)


def to_pixels(block: Tensor) -> Tensor:
    """Turn uint8 (B, H, W, channels) into float32 (B, channels, H, W) in [0, 1], channels last in memory."""
    return block.permute(0, 3, 1, 2) / 255


def free_memory(device: torch.device) -> int:
    """Bytes that a GPU can still give: what the driver has left, and what torch holds without using it."""
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def prediction_batch(shape: Sequence[int], device: torch.device) -> int:
    """How many images of `shape` (N, H, W, channels) a network answers at once: on a GPU as a quarter of it holds."""
    if device.type != "cuda":
        return min(max(CPU_PIXELS // (shape[1] * shape[2]), 1), CPU_BATCH)
    fitting = free_memory(device) // 4 // (BYTES_PER_PIXEL * shape[1] * shape[2])
    return min(max(fitting, 1), LARGEST_BATCH)


@torch.inference_mode()
def predict(
    model: nn.Module,
    images: np.ndarray | Images,
    rows: np.ndarray,
    device: torch.device,
    batch_size: int | None = None,
    dtype: torch.dtype | None = None,
) -> np.ndarray:
    """Return the logits of `rows`, float32 (len(rows), C), with the network in evaluation mode.

    `dtype` lets autocast compute in it. The host waits for the device once, at the end. The network's mode is left as
    it was.
    """
    reader = as_images(images, device)
    size = batch_size or prediction_batch(reader.shape, device)
    with closing(reader.read(np.split(rows, range(size, len(rows), size)))) as blocks:
        return predict_blocks(model, map(to_pixels, blocks), device, dtype)


@torch.inference_mode()
def predict_blocks(
    model: nn.Module, blocks: Iterable[Tensor], device: torch.device, dtype: torch.dtype | None = None
) -> np.ndarray:
    """Return what a network in evaluation mode says of inputs that come block by block, float32 (N, C)."""
    training = model.training
    model.eval()
    parts = []
    for block in blocks:
        with torch.autocast(device.type, dtype, enabled=dtype is not None):
            parts.append(model(block).float())
    model.train(training)
    return torch.cat(parts).cpu().numpy()
