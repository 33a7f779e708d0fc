"""The served model, an MLflow model from code: base64 images in, class names and probabilities out.

MLflow logs this file with its folder, and runs it by path when the model is loaded. Importing it does no
I/O.
"""

import base64
import binascii
import io
import logging
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import onnxruntime
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature, set_model
from mlflow.protos.databricks_pb2 import INTERNAL_ERROR, INVALID_PARAMETER_VALUE
from mlflow.pyfunc.model import PythonModel, PythonModelContext
from mlflow.types import ColSpec, DataType, Schema
from mlflow.types.schema import Map
from PIL import Image

from models.errors import ModelError
from models.predictor import Predictor

COLUMN = "image"
PACKAGES = ("mlflow", "numpy", "pandas", "pillow", "pydicom")

logger = logging.getLogger(__name__)


class ServedStudent(PythonModel):
    """The student behind `mlflow models serve`: a mistake in a request is answered with 400 and its reason."""

    predictor: Predictor

    def load_context(self, context: PythonModelContext) -> None:
        """Open the network; called once, when the model is loaded."""
        self.predictor = Predictor(Path(context.artifacts["onnx"]), Path(context.artifacts["meta"]))
        print(f"the student computes on {self.predictor.provider}", file=sys.stderr, flush=True)

    def predict(  # type: ignore[override]
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Return the columns `label` and `probabilities` for each row's `image`, a base64-encoded image file."""
        try:
            return pd.DataFrame(self.predictor.predict_bytes(_decoded(model_input)), columns=["label", "probabilities"])
        except ModelError as error:
            raise MlflowException(str(error), INVALID_PARAMETER_VALUE) from None
        except Exception:
            logger.exception("a prediction failed")
            raise MlflowException("the prediction failed; the server's log says why", INTERNAL_ERROR) from None


def _decoded(frame: pd.DataFrame) -> list[bytes]:
    """Return the encoded images; raises ModelError that names the row, from 1."""
    if not isinstance(frame, pd.DataFrame) or COLUMN not in frame.columns:
        raise ModelError(f"the input needs a column `{COLUMN}` of base64-encoded image files")
    if frame.empty:
        raise ModelError(f"the input has no rows; each holds one base64-encoded image file in its column `{COLUMN}`")
    contents = []
    for row, value in enumerate(frame[COLUMN], 1):
        if not isinstance(value, str):
            found = (
                "nothing"
                if pd.api.types.is_scalar(value) and pd.isna(value)
                else f"a value of type {type(value).__name__}"
            )
            raise ModelError(f"image {row} of {len(frame)}: {found}, where base64 text of an image file is expected")
        try:
            contents.append(base64.b64decode("".join(value.split()), validate=True))
        except (binascii.Error, ValueError) as error:
            raise ModelError(f"image {row} of {len(frame)}: the text is not base64 ({error})") from None
    return contents


def model_spec(onnx_path: Path, meta_path: Path) -> dict[str, Any]:
    """Return what `mlflow.pyfunc.log_model(name=..., **model_spec(...))` needs to log the student, self-contained.

    The requirements are those of serving alone, at the versions installed now; torch is not among them.
    """
    here = Path(__file__).resolve()
    return {
        "python_model": str(here),
        "artifacts": {"onnx": str(onnx_path.resolve()), "meta": str(meta_path.resolve())},
        "code_paths": [str(here.parent)],
        "signature": ModelSignature(
            inputs=Schema([ColSpec(DataType.string, COLUMN)]),
            outputs=Schema([ColSpec(DataType.string, "label"), ColSpec(Map(DataType.double), "probabilities")]),
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
