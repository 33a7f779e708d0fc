"""How images and their order reach the device: an epoch's batches, and readers that keep the device from waiting.

A data set that fits lives on the GPU as uint8. Otherwise a thread reads the next batches from the memory map into
pinned memory and copies them on a separate stream while the device works. A CPU reads each batch when it needs it:
that takes less than a thousandth of a step.
"""

import math
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from models.inference import Images, PlainImages, free_memory, to_device
from pipeline.common.errors import UserError
from pipeline.common.seeds import stream

RESIDENT_SHARE = 0.25
"""Largest share of the free device memory that `machine.data_on_device: auto` gives to images."""
AHEAD = 3
"""Batches that are read before they are asked for."""
COPIED_AT_ONCE = 512
"""Rows in host memory while a data set is copied to the device."""


def epoch_batches(num_samples: int, batch_size: int, seed: int, epoch: int, world: int = 1) -> list[np.ndarray]:
    """An epoch's batches: a permutation in as few pieces as `batch_size` allows, as equal as can be.

    A small last batch would make deep networks diverge: at 32 px the last maps have one pixel, and BatchNorm over two
    samples gave ResNet-50 gradients of norm 10^9 where 270 is usual. Each of `world` processes has two samples of a
    batch at least, as long as there are so many.
    """
    permutation = stream(seed, "batch order", epoch).permutation(num_samples)
    pieces = min(math.ceil(num_samples / batch_size), num_samples // (2 * world))
    return np.array_split(permutation, max(1, pieces))


def steps_of_epoch(
    num_samples: int, batch_size: int, seed: int, epoch: int, world: int = 1, *, steps: int | None = None
) -> list[tuple[int, np.ndarray]]:
    """Return an epoch's batches, each with the number of the pass over the samples that it belongs to.

    `steps` None: an epoch is one pass. Otherwise it has so many batches, and pass follows pass across the epochs.
    """
    if steps is None:
        return [(epoch, batch) for batch in epoch_batches(num_samples, batch_size, seed, epoch, world)]
    of_pass = len(epoch_batches(num_samples, batch_size, seed, 0, world))
    numbers = range(epoch * steps, (epoch + 1) * steps)
    passes = {
        number: epoch_batches(num_samples, batch_size, seed, number, world)
        for number in range(numbers[0] // of_pass, numbers[-1] // of_pass + 1)
    }
    return [(number // of_pass, passes[number // of_pass][number % of_pass]) for number in numbers]


def share(batches: Sequence[np.ndarray], rank: int, world: int) -> list[np.ndarray]:
    """Return what process `rank` of `world` takes of each batch: pieces that differ by one sample at most."""
    return [np.array_split(batch, world)[rank] for batch in batches]


def open_images(
    images: np.ndarray, rows: np.ndarray, device: torch.device, on_device: Literal["auto", True, False]
) -> Images:
    """Return the reader that `machine.data_on_device` asks for; `rows` are those that will be read.

    On a CPU there is nothing to choose. Raises UserError where `true` asks for more memory than the GPU has free.
    """
    if device.type != "cuda":
        return PlainImages(images, device)
    needed, free = len(rows) * int(np.prod(images.shape[1:])), free_memory(device)
    if on_device is True or (on_device == "auto" and needed <= RESIDENT_SHARE * free):
        try:
            return ResidentImages(images, rows, device)
        except torch.OutOfMemoryError:
            raise UserError(
                f"machine.data_on_device is {str(on_device).lower()}, but {len(rows):,} images take "
                f"{needed / 2**30:.1f} GiB and the GPU has {free / 2**30:.1f} GiB free; set it to false (images are "
                "then read ahead), lower data.image_size, or end what else uses the GPU"
            ) from None
    return PrefetchedImages(images, device)


class ResidentImages:
    """Keeps the given rows of the array on the device."""

    def __init__(self, images: np.ndarray, rows: np.ndarray, device: torch.device) -> None:
        self.shape: tuple[int, ...] = images.shape
        self._device = device
        self._place = np.full(len(images), -1)
        self._place[rows] = np.arange(len(rows))
        self._stored = torch.empty((len(rows), *images.shape[1:]), dtype=torch.uint8, device=device)
        for start in range(0, len(rows), COPIED_AT_ONCE):
            block = images[rows[start : start + COPIED_AT_ONCE]]
            self._stored[start : start + len(block)] = torch.from_numpy(block)

    def read(self, batches: Sequence[np.ndarray]) -> Generator[Tensor, None, None]:
        """Yield batch after batch; their rows are sent to the device at once, before the first."""
        places = self._place[np.concatenate(batches)]
        if (places < 0).any():
            raise ValueError("rows that were not put on the device")
        for part in to_device(places, self._device).split([len(rows) for rows in batches]):
            yield self._stored[part]


class PrefetchedImages:
    """Reads ahead in a thread that lives as long as one pass; its errors are raised where the batch is asked for."""

    def __init__(self, images: np.ndarray, device: torch.device) -> None:
        self.shape: tuple[int, ...] = images.shape
        self._images, self._device = images, device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def read(self, batches: Sequence[np.ndarray]) -> Generator[Tensor, None, None]:
        """Yield batch after batch, with `AHEAD` more on their way."""
        reader, order = ThreadPoolExecutor(1, "prefetch"), iter(batches)
        try:
            ahead = deque(reader.submit(self._load, rows) for rows in islice(order, AHEAD))
            while ahead:
                block, arrived = ahead.popleft().result()
                ahead.extend(reader.submit(self._load, rows) for rows in islice(order, 1))
                if arrived is not None:
                    current = torch.cuda.current_stream(self._device)
                    current.wait_event(arrived)
                    block.record_stream(current)  # its memory is given back only when the step has used it
                yield block
        finally:
            reader.shutdown(cancel_futures=True)

    def _load(self, rows: np.ndarray) -> tuple[Tensor, torch.cuda.Event | None]:
        if self._stream is None:
            return torch.from_numpy(self._images[rows]), None
        with torch.cuda.stream(self._stream):
            block = to_device(self._images[rows], self._device)
            arrived = torch.cuda.Event()
            arrived.record()
        return block, arrived
