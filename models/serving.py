"""The served model, an MLflow model from code: base64 images in, class names and probabilities out.

MLflow logs this file with its folder, and runs it by path when the model is loaded. Importing it does no
I/O.
"""

import base64
import binascii
import io
import logging
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import yaml
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature, set_model
from mlflow.protos.databricks_pb2 import INTERNAL_ERROR, INVALID_PARAMETER_VALUE
from mlflow.pyfunc.model import PythonModel, PythonModelContext
from mlflow.types import ColSpec, DataType, Schema
from mlflow.types.schema import AnyType, Map
from PIL import Image

from models.errors import ModelError
from models.pixels import MAX_PIXELS, Pixels
from models.predictor import Prediction, Predictor
from models.providers import Compute

COLUMN, SHAPE = "image", "shape"
MODEL_VERSION = "model_version"
PACKAGES = ("mlflow", "numpy", "pandas", "pillow", "pydicom")
REGISTERED = "registered_model_meta"
"""The file that MLflow writes beside a registered model that it loads: its name and version."""

logger = logging.getLogger(__name__)


class ServedStudent(PythonModel):
    """The student behind `mlflow models serve`: a mistake in a request is answered with 400 and its reason."""

    predictor: Predictor
    version: str

    def load_context(self, context: PythonModelContext) -> None:
        """Open the network as the model's configuration says (`Compute`); called once, when the model is loaded."""
        onnx_path, config = Path(context.artifacts["onnx"]), dict(context.model_config or {})
        self.predictor = Predictor(onnx_path, Compute.from_config(config))
        self.version = config.get("version") or _registered_version(onnx_path)
        print(f"the student computes on {self.predictor.provider}", file=sys.stderr, flush=True)

    def predict(  # type: ignore[override]
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Return the columns `label`, `probabilities` and `model_version` for each row of images.

        `image`: an image file as base64; or uint8 pixels as base64, row by row, with their `shape` [height, width,
        channels].
        """
        try:
            images = _decoded(model_input)
        except ModelError as error:
            raise MlflowException(str(error), INVALID_PARAMETER_VALUE) from None
        return pd.DataFrame(self.answer(images), columns=["label", "probabilities", MODEL_VERSION])

    def answer(self, images: Sequence[bytes | Pixels]) -> list[dict[str, Any]]:
        """Return the predictions of encoded images, or of uint8 pixels, with the version of the model.

        Raises MlflowException: 400 with the reason for an image that cannot be read, else 500 without details.
        """
        try:
            predictions: list[Prediction] = self.predictor.predict(images)
        except ModelError as error:
            raise MlflowException(str(error), INVALID_PARAMETER_VALUE) from None
        except Exception:
            logger.exception("a prediction failed")
            raise MlflowException("the prediction failed; the server's log says why", INTERNAL_ERROR) from None
        return [{**prediction, MODEL_VERSION: self.version} for prediction in predictions]


def _registered_version(onnx_path: Path) -> str:
    """Return `name/version` of the registered model that this file belongs to; empty where it is none."""
    try:
        found = yaml.safe_load((onnx_path.parents[1] / REGISTERED).read_text(encoding="utf-8"))
        return f"{found['model_name']}/{found['model_version']}"
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        return ""


def _decoded(frame: pd.DataFrame) -> list[bytes | Pixels]:
    """Return the images of a request; raises ModelError that names the row, from 1."""
    if not isinstance(frame, pd.DataFrame) or COLUMN not in frame.columns:
        raise ModelError(f"the input needs a column `{COLUMN}` of base64-encoded image files")
    if frame.empty:
        raise ModelError(f"the input has no rows; each holds one base64-encoded image file in its column `{COLUMN}`")
    shapes = frame[SHAPE] if SHAPE in frame.columns else [None] * len(frame)
    images = []
    for row, (value, shape) in enumerate(zip(frame[COLUMN], shapes, strict=True), 1):
        try:
            content = _bytes_of(value)
            images.append(content if _is_nothing(shape) else _raw(content, shape))
        except ModelError as error:
            raise ModelError(f"image {row} of {len(frame)}: {error}") from None
    return images


def _bytes_of(value: Any) -> bytes:
    if not isinstance(value, str):
        found = "nothing" if _is_nothing(value) else f"a value of type {type(value).__name__}"
        raise ModelError(f"{found}, where base64 text of an image file is expected")
    try:
        return base64.b64decode("".join(value.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ModelError(f"the text is not base64 ({error})") from None


def _is_nothing(value: Any) -> bool:
    return bool(pd.api.types.is_scalar(value) and pd.isna(value))


def _raw(content: bytes, shape: Any) -> Pixels:
    """Return raw pixels as uint8 (H, W, channels)."""
    sides = [int(side) for side in shape] if _is_shape(shape) else []
    if len(sides) != 3 or min(sides) < 1 or sides[2] not in (1, 3):
        raise ModelError("its shape is not [height, width, channels], whole numbers from 1, channels 1 or 3")
    height, width, channels = sides
    if height * width > MAX_PIXELS:
        raise ModelError(f"has {width} x {height} pixels, more than the {MAX_PIXELS:,} allowed; shrink it first")
    if len(content) != height * width * channels:
        wanted = height * width * channels
        raise ModelError(f"its shape {sides} needs {wanted:,} bytes of uint8 pixels, but {len(content):,} are there")
    return np.frombuffer(content, np.uint8).reshape(height, width, channels)


def _is_shape(shape: Any) -> bool:
    return isinstance(shape, (list, tuple, np.ndarray)) and all(
        isinstance(side, (int, np.integer)) and not isinstance(side, bool) for side in shape
    )


def model_spec(onnx_path: Path, *beside: Path) -> dict[str, Any]:
    """Return what `mlflow.pyfunc.log_model(name=..., **model_spec(...))` needs to log the student, self-contained.

    `beside`: files that are kept with it as they are, such as Triton's configuration. The requirements are those of
    serving alone, at the versions installed now; torch is not among them. The configuration is that of `Compute`, and
    can be overridden where the model is loaded.
    """
    here = Path(__file__).resolve()
    return {
        "python_model": str(here),
        "artifacts": {"onnx": str(onnx_path.resolve())} | {path.name: str(path.resolve()) for path in beside},
        "code_paths": [str(here.parent)],
        "model_config": Compute().config() | {"version": ""},
        "signature": ModelSignature(
            inputs=Schema([ColSpec(DataType.string, COLUMN), ColSpec(AnyType(), SHAPE, required=False)]),
            outputs=Schema(
                [
                    ColSpec(DataType.string, "label"),
                    ColSpec(Map(DataType.double), "probabilities"),
                    ColSpec(DataType.string, MODEL_VERSION),
                ]
            ),
        ),
        "input_example": pd.DataFrame({COLUMN: [_grey_square()]}),
        "pip_requirements": [*(f"{name}=={version(name)}" for name in PACKAGES), _onnxruntime_requirement()],
    }


def _grey_square() -> str:
    """A request's image, for people to try the server with."""
    stream = io.BytesIO()
    Image.new("L", (32, 32), 128).save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode()


def _onnxruntime_requirement() -> str:
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        return f"onnxruntime-gpu[cuda,cudnn]=={version('onnxruntime-gpu')}"
    return f"onnxruntime=={version('onnxruntime')}"


set_model(ServedStudent())
