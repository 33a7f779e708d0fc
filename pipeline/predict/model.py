"""The student that answers: a version of the registered model, or an ONNX file."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from models.predictor import Predictor
from pipeline.common.errors import UserError
from pipeline.common.files import sha256_files

SHOWN = 12
"""Hex digits of the hash that tells two models of one name apart."""


@dataclass(frozen=True)
class Model:
    """`title` names the model and its content, such as `roskd-phantom/3 (1f0c2ab98d3e)`."""

    predictor: Predictor
    title: str


@contextmanager
def open_model(model: str) -> Iterator[Model]:
    """Open models:/NAME@ALIAS, models:/NAME/VERSION, or the path of an ONNX file with its JSON beside it.

    Raises UserError where there is none, ModelError where its two files do not belong together.
    """
    with TemporaryDirectory() as folder:
        if model.startswith("models:"):
            from pipeline import tracking  # mlflow takes seconds to import, and an ONNX file needs none of it

            fetched = tracking.fetch_model(model, Path(folder))
            missing = [key for key in ("onnx", "meta") if key not in fetched.files]
            if missing:
                raise UserError(f"{model}: holds no student of this project; it lacks the files {', '.join(missing)}")
            title, onnx, meta = fetched.title, fetched.files["onnx"], fetched.files["meta"]
        else:
            onnx = Path(model)
            title, meta = onnx.name, _described(onnx)
        yield Model(Predictor(onnx, meta), f"{title} ({sha256_files([onnx, meta])[:SHOWN]})")


def _described(onnx: Path) -> Path:
    """The JSON beside an ONNX file. Raises UserError where one of the two is missing."""
    if not onnx.is_file():
        raise UserError(
            f"{onnx}: no such ONNX file; run make repro, which exports student.onnx, or name a registered model, such "
            "as models:/roskd-phantom@champion"
        )
    meta = onnx.with_suffix(".json")
    if not meta.is_file():
        raise UserError(
            f"{onnx}: its description {meta} is missing, which names classes, image size and task. Copy it there from "
            "where the network was exported, or export the student again (make repro)"
        )
    return meta
