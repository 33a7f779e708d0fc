"""The student that answers: a version of the registered model, or an ONNX file."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from models.predictor import Predictor
from pipeline.common.errors import UserError
from pipeline.common.files import sha256_file

SHOWN = 12
"""Hex digits of the hash that tells two models of one name apart."""


@dataclass(frozen=True)
class Model:
    """`title` names the model and its content, such as `roskd-phantom/3 (1f0c2ab98d3e)`."""

    predictor: Predictor
    title: str


@contextmanager
def open_model(model: str) -> Iterator[Model]:
    """Open models:/NAME@ALIAS, models:/NAME/VERSION, or the path of an ONNX file.

    Raises UserError where there is none, ModelError for a file that is no exported student.
    """
    with TemporaryDirectory() as folder:
        if model.startswith("models:"):
            from pipeline import tracking  # mlflow takes seconds to import, and an ONNX file needs none of it

            fetched = tracking.fetch_model(model, Path(folder))
            if "onnx" not in fetched.files:
                raise UserError(f"{model}: holds no student of this project; it lacks the file onnx")
            title, onnx = fetched.title, fetched.files["onnx"]
        else:
            onnx = Path(model)
            title = onnx.name
            _require_file(onnx)
        yield Model(Predictor(onnx), f"{title} ({sha256_file(onnx)[:SHOWN]})")


def _require_file(onnx: Path) -> None:
    if not onnx.is_file():
        raise UserError(
            f"{onnx}: no such ONNX file; run make repro, which exports student.onnx, or name a registered model, such "
            "as models:/roskd-phantom@champion"
        )
