"""The exported student outside of training: encoded images in, class names and probabilities out; needs no torch."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypedDict

import numpy as np

from models.errors import ModelError
from models.images import Resize, load, to_channels, to_square
from models.metadata import read_metadata
from models.pixels import ImageError, Pixels
from models.providers import BATCH, Compute, open_session

SEPARATOR = "|"
"""Joins several findings, as in the label tables; no finding at all is the empty text."""
WORTH_A_THREAD = 4
"""Images from which on several threads decode: decoders work without Python's lock."""


class Prediction(TypedDict):
    """`label`: the class, or the findings at or above their thresholds; `probabilities`: one per class."""

    label: str
    probabilities: dict[str, float]


class Predictor:
    """An exported ONNX file, which says itself how it is fed and what it answers (`metadata`).

    `provider` names what computes. Raises ModelError where the file is missing, is no network, has no metadata or
    other ones than its shapes, and where `compute` cannot be had.
    """

    def __init__(self, onnx_path: Path, compute: Compute = Compute()) -> None:  # noqa: B008 (frozen)
        self._session = open_session(onnx_path, compute)
        self.metadata = read_metadata(self._session.get_modelmeta().custom_metadata_map, str(onnx_path))
        self.task, self.classes = self.metadata.task, self.metadata.classes
        self.image_size, self.channels = self.metadata.image_size, self.metadata.channels
        self.resize: Resize = self.metadata.resize
        self.thresholds = np.asarray(self.metadata.thresholds or [0.5] * len(self.classes))
        self._threads = compute.threads or _count_cores()
        self._require_shapes(onnx_path)

    @property
    def provider(self) -> str:
        """The onnxruntime provider that computes."""
        return self._session.get_providers()[0]

    def predict(self, images: Sequence[bytes | Pixels]) -> list[Prediction]:
        """Return one prediction for each image.

        An image is a file's bytes (JPEG, PNG, TIFF, BMP, DICOM), or pixels, uint8 (H, W, channels), 1 or 3 channels.

        Raises ImageError that names the image by its place, from 1, and the reason.
        """
        probabilities = self.probabilities(self.pixels(images))
        return [
            {"label": self.label(row), "probabilities": dict(zip(self.classes, row.tolist(), strict=True))}
            for row in probabilities
        ]

    def pixels(self, images: Sequence[bytes | Pixels]) -> Pixels:
        """Decode and resize as the training data was: uint8 (N, image_size, image_size, channels)."""
        result = np.empty((len(images), self.image_size, self.image_size, self.channels), np.uint8)

        def fill(place: int) -> None:
            try:
                result[place] = self._square(images[place])
            except ImageError as error:
                raise ImageError(f"image {place + 1} of {len(images)}: {error}") from error

        if len(images) < WORTH_A_THREAD or self._threads == 1:
            for place in range(len(images)):
                fill(place)
            return result
        with ThreadPoolExecutor(min(self._threads, len(images))) as pool:
            list(pool.map(fill, range(len(images))))  # the first of several faults is the one that is raised
        return result

    def probabilities(self, pixels: Pixels) -> np.ndarray:
        """Return the network's answer to uint8 pixels (N, image_size, image_size, channels): float32 (N, C)."""
        parts = [np.zeros((0, len(self.classes)), np.float32)]
        for start in range(0, len(pixels), BATCH):
            (part,) = self._session.run(["probabilities"], {"pixels": pixels[start : start + BATCH]})
            parts.append(np.asarray(part))
        return np.concatenate(parts)

    def label(self, probabilities: np.ndarray) -> str:
        """Return the most probable class (multiclass), or the findings at or above their thresholds, joined by |."""
        if self.task == "multiclass":
            return self.classes[int(probabilities.argmax())]
        called = probabilities >= self.thresholds
        return SEPARATOR.join(name for name, here in zip(self.classes, called, strict=True) if here)

    def _square(self, image: bytes | Pixels) -> Pixels:
        if isinstance(image, bytes):
            return load(image, size=self.image_size, resize=self.resize, channels=self.channels)
        return to_square(to_channels(image, self.channels), self.image_size, self.resize)

    def _require_shapes(self, path: Path) -> None:
        side, channels = self.image_size, self.channels
        takes = [value.shape[1:] for value in self._session.get_inputs() if value.name == "pixels"]
        answers = [value.shape[1:] for value in self._session.get_outputs() if value.name == "probabilities"]
        if takes != [[side, side, channels]] or answers != [[len(self.classes)]]:
            raise ModelError(
                f"{path}: takes pixels {takes} and answers with probabilities {answers}, but its metadata say "
                f"{[side, side, channels]} and {len(self.classes)} classes; export the student again (make repro)"
            )


def _count_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
