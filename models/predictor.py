"""The exported student outside of training: encoded images in, class names and probabilities out; needs no torch."""

import ctypes
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict, get_args

import numpy as np
import onnxruntime

from models.errors import ModelError
from models.images import Resize, load
from models.pixels import ImageError

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
BATCH = 32
SEPARATOR = "|"
"""Joins several findings, as in the label tables; no finding at all is the empty text."""

logger = logging.getLogger(__name__)


class Prediction(TypedDict):
    """`label`: the class, or the findings at or above their thresholds; `probabilities`: one per class."""

    label: str
    probabilities: dict[str, float]


class Predictor:
    """student.onnx with its student.json.

    The JSON names `task`, `classes`, `image_size`, `resize`, `channels`, and for multilabel may hold `thresholds`, one
    per class (0.5 without). Runs on the GPU where there is one, and logs which; `provider` names it. Raises ModelError
    where a file is missing or the two do not belong together.
    """

    def __init__(self, onnx_path: Path, meta_path: Path) -> None:
        meta = _read_meta(meta_path)
        self.task: str = meta["task"]
        self.classes: tuple[str, ...] = tuple(meta["classes"])
        self.image_size: int = meta["image_size"]
        self.resize: Resize = meta["resize"]
        self.channels: int = meta["channels"]
        self.thresholds = np.asarray(meta.get("thresholds") or [0.5] * len(self.classes))
        self._session = _open_session(onnx_path)
        self._require_match(onnx_path, meta_path)

    @property
    def provider(self) -> str:
        """The onnxruntime provider that computes."""
        return self._session.get_providers()[0]

    def predict_bytes(self, contents: Sequence[bytes]) -> list[Prediction]:
        """Return one prediction for each encoded image (JPEG, PNG, TIFF, BMP, DICOM).

        Raises ImageError that names the image by its place, from 1, and the reason.
        """
        probabilities = self.probabilities(self.pixels(contents))
        return [
            {"label": self.label(row), "probabilities": dict(zip(self.classes, map(float, row), strict=True))}
            for row in probabilities
        ]

    def pixels(self, contents: Sequence[bytes]) -> np.ndarray:
        """Decode and resize as the training data was: uint8 (N, image_size, image_size, channels)."""
        images = np.zeros((len(contents), self.image_size, self.image_size, self.channels), np.uint8)
        for i, content in enumerate(contents):
            try:
                images[i] = load(content, size=self.image_size, resize=self.resize, channels=self.channels)
            except ImageError as error:
                raise ImageError(f"image {i + 1} of {len(contents)}: {error}") from error
        return images

    def probabilities(self, pixels: np.ndarray) -> np.ndarray:
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

    def _require_match(self, onnx_path: Path, meta_path: Path) -> None:
        (given,) = self._session.get_inputs()
        answer = next(output for output in self._session.get_outputs() if output.name == "probabilities")
        side = self.image_size
        if given.shape[1:] != [side, side, self.channels] or answer.shape[1:] != [len(self.classes)]:
            raise ModelError(
                f"{onnx_path} takes {given.shape[1:]} pixels and answers for {answer.shape[1]} classes, "
                f"but {meta_path} says {[side, side, self.channels]} and {len(self.classes)}; export both again"
            )
        if len(self.thresholds) != len(self.classes):
            raise ModelError(f"{meta_path}: {len(self.thresholds)} thresholds for {len(self.classes)} classes")


def _read_meta(path: Path) -> dict[str, Any]:
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read as JSON ({error}); export the student again") from error
    allowed = {"task": ("multiclass", "multilabel"), "resize": get_args(Resize), "channels": (1, 3)}
    for key in ("task", "classes", "image_size", "resize", "channels"):
        if key not in meta or (key in allowed and meta[key] not in allowed[key]):
            raise ModelError(f"{path}: {key} is {meta.get(key)!r}; export the student again")
    return meta


def _open_session(path: Path) -> onnxruntime.InferenceSession:
    """Open the network on the GPU where a driver finds one, in full float32 there too; say where it runs."""
    gpu = CUDA in onnxruntime.get_available_providers() and _has_gpu()
    providers: list[Any] = [CPU]
    if gpu:
        onnxruntime.preload_dlls()
        # TF32 would make a GPU's probabilities differ from a CPU's; the exhaustive search repeats for each batch size
        providers.insert(0, (CUDA, {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}))
    try:
        session = onnxruntime.InferenceSession(path, providers=providers)
    except Exception as error:  # onnxruntime's own exceptions have no common base
        raise ModelError(f"{path}: cannot be opened as an ONNX network ({error}); export the student again") from error
    used = session.get_providers()[0]
    if gpu and used != CUDA:
        logger.warning("a GPU is there, but onnxruntime cannot use it: %s computes on %s, much slower", path.name, used)
    else:
        logger.info("%s computes on %s", path.name, used)
    return session


def _has_gpu() -> bool:
    """Whether an NVIDIA driver is installed and shows at least one device."""
    count = ctypes.c_int(0)
    for name in ("libcuda.so.1", "nvcuda.dll"):
        try:
            driver = ctypes.CDLL(name)
        except OSError:
            continue
        return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0
    return False
