"""What networks take in, view by view: pixels, or the stored features that a frozen backbone makes of them."""

from collections.abc import Generator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from models.inference import Images, as_images, predict_blocks, prediction_batch, to_device, to_pixels
from pipeline.common.errors import UserError
from pipeline.data.views import Views

FEATURES_AT_ONCE = 4096
"""How many samples a head answers at once."""


class Inputs(Protocol):
    """The inputs of N samples in `count` augmented views; view number `count` is the clean image."""

    @property
    def count(self) -> int: ...

    @property
    def at_once(self) -> int:
        """How many samples a network answers at once."""
        ...

    def of_pass(self, number: int) -> int:
        """Return the view of pass `number`, from 0, over the training set."""
        ...

    def read(self, batches: Sequence[np.ndarray], views: Sequence[int]) -> Generator[Tensor, None, None]:
        """Yield the input of each batch of rows, in its view, on the device."""
        ...


class Pixels:
    """Images augmented on the device: float (B, channels, H, W) in [0, 1]."""

    def __init__(self, images: np.ndarray | Images, views: Views, device: torch.device) -> None:
        self.views = views
        self.count = views.count
        self._images, self._device = as_images(images, device), device

    @property
    def at_once(self) -> int:
        """As many as the device's memory holds."""
        return prediction_batch(self._images.shape, self._device)

    def of_pass(self, number: int) -> int:
        """View after view, round and round."""
        return self.views.of_epoch(number)

    def read(self, batches: Sequence[np.ndarray], views: Sequence[int]) -> Generator[Tensor, None, None]:
        """Yield batch after batch; the order goes to the device once."""
        parts = to_device(np.concatenate(batches), self._device).split([len(rows) for rows in batches])
        with closing(self._images.read(batches)) as blocks:
            for block, rows, view in zip(blocks, parts, views, strict=True):
                yield self.views.apply(to_pixels(block), rows, view)


class Features:
    """Stored features, float32 (B, F) out of (N, F) for each view, float16 or float32; a GPU holds them all."""

    def __init__(self, paths: Sequence[Path], device: torch.device) -> None:
        """`paths`: the files of the V augmented views, then of the clean one. Raises UserError for a damaged file."""
        self.count = len(paths) - 1
        self.at_once = FEATURES_AT_ONCE
        self._device = device
        self._stores = {path: _open(path) for path in paths}
        self._paths = list(paths)
        self._resident: dict[Path, Tensor] = {}

    @property
    def num_features(self) -> int:
        """The number F of features."""
        return self._stores[self._paths[0]].shape[1]

    def of_pass(self, number: int) -> int:
        """View after view, round and round."""
        return number % self.count

    def read(self, batches: Sequence[np.ndarray], views: Sequence[int]) -> Generator[Tensor, None, None]:
        """Yield batch after batch."""
        for rows, view in zip(batches, views, strict=True):
            path = self._paths[view]
            if self._device.type == "cpu":
                yield torch.from_numpy(self._stores[path][rows]).float()
                continue
            if path not in self._resident:
                self._resident[path] = to_device(np.array(self._stores[path]), self._device)
            yield self._resident[path][to_device(rows, self._device)].float()


def answers(
    model: nn.Module,
    inputs: Inputs,
    rows: np.ndarray,
    view: int,
    device: torch.device,
    dtype: torch.dtype | None = None,
) -> np.ndarray:
    """Return a network's outputs for one view of `rows`, float32 (len(rows), C), as `models.inference.predict` does."""
    batches = np.split(rows, range(inputs.at_once, len(rows), inputs.at_once))
    with closing(inputs.read(batches, [view] * len(batches))) as blocks:
        return predict_blocks(model, blocks, device, dtype)


def _open(path: Path) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path}: is damaged or cut off ({error}). Delete its folder and run again") from error
