"""A finished pipeline in miniature, and a fresh tracking store that costs a copy instead of a migration."""

import csv
import io
import json
import shutil
import sys
import types
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

import models
from pipeline.common import layout as artifacts
from pipeline.distillation.methods import RUNS
from pipeline.params.file import load
from pipeline.params.tree import Params
from pipeline.tracking.runs import POOLS

REPOSITORY = Path(__file__).resolve().parents[2]
ARCHITECTURES = ("resnet18", "densenet121")
HISTORY = "epoch,split,metric,value\n1,train,loss,1.5\n1,val,f1_macro,0.25\n2,train,loss,\n2,val,f1_macro,0.375\n"
FIGURE = {method: 0.5 + index / 64 for index, method in enumerate([*RUNS, "roskd"])}
DATA_REPORT = {
    "source": "phantom",
    "task": "multiclass",
    "classes": ["NV", "DF"],
    "image_size": 32,
    "channels": 3,
    "images": 3,
    "groups": 2,
    "counts": {"NV": 2, "DF": 1},
    "quarantined": {"broken_7": "image is truncated"},
    "sha256": "d" * 64,
}
MODEL = """
import mlflow


class Echo(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input):
        return model_input


mlflow.models.set_model(Echo())
"""


@dataclass(frozen=True)
class Finished:
    """The folder of a finished pipeline, and what a test changes in it."""

    root: Path

    def write(self, path: Path | str, text: str) -> None:
        """Write a file and its folders."""
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text, encoding="utf-8")

    def write_csv(self, path: Path, header: str, rows: Iterable[tuple[object, ...]]) -> None:
        """Write a CSV with its folders."""
        lines = io.StringIO()
        csv.writer(lines).writerows([header.split(","), *rows])
        self.write(path, lines.getvalue())

    def write_students(self, **changed: float) -> None:
        """Write students.csv: each method's test macro F1, validation 0.2 above, the selected checkpoint 0.1 below."""
        rows: list[tuple[object, ...]] = []
        for method, value in (FIGURE | changed).items():
            main = "smoothed" if method == "roskd" else "last"
            rows += [
                (0, method, main, "test", "f1_macro", "", value),
                (0, method, main, "test", "auroc", "NV", 0.75),
                (0, method, main, "test", "auroc", "DF", ""),
                (0, method, main, "val", "f1_macro", "", value + 0.25),
            ]
            if method != "roskd":
                rows.append((0, method, "selected", "test", "f1_macro", "", value - 0.125))
        self.write_csv(artifacts.STUDENT_METRICS, "seed,method,checkpoint,split,metric,class,value", rows)

    def export_student(self, weights: str) -> None:
        """Write what stands for an ONNX file."""
        self.write(artifacts.ONNX, weights)
        self.write(artifacts.ONNX_META, "{}\n")

    def write_all(self) -> None:
        """Write everything but the exported student: two epochs, two teachers in each pool, every student run."""
        self.write(artifacts.DATA_REPORT, json.dumps(DATA_REPORT))
        self.write_csv(artifacts.SPLITS, "sample_id,split", [("a", "train"), ("b", "val"), ("c", "test")])
        self.write_csv(artifacts.LABELS, "sample_id,given,published,flipped", [("b", "NV", "DF", 1)])
        self.write("params.yaml", "task: multiclass\n")
        self.write(artifacts.REPORT, "<html></html>")
        self.write(artifacts.DATA_CARD, "<html>data</html>")
        self.write(artifacts.TABLE, "table\n")
        self.write("artifacts/report/figures/curves.png", "png")
        self.write_students()
        for run in RUNS:
            self.write(artifacts.student_history(0, run), HISTORY)
        rows: list[tuple[object, ...]] = []
        for pool in POOLS:
            for name in ARCHITECTURES:
                self.write(artifacts.teacher_history(0, pool, name), HISTORY)
                rows += [(0, pool, name, "test", "f1_macro", "", 0.4), (0, pool, name, "val", "f1_macro", "", 0.9)]
        self.write_csv(artifacts.TEACHER_METRICS, "seed,pool,architecture,split,metric,class,value", rows)


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sqlite store with all its tables."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def finished(tmp_path: Path, migrated: Path, monkeypatch: pytest.MonkeyPatch) -> Finished:
    """A finished pipeline and an empty store; its folder is the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    shutil.copy(migrated, tmp_path / "mlflow.db")
    pipeline = Finished(tmp_path)
    pipeline.write_all()
    return pipeline


@pytest.fixture
def exported(finished: Finished, monkeypatch: pytest.MonkeyPatch) -> Finished:
    """The same with an exported student, and a stand-in for models.serving that packs it."""
    finished.write("echo.py", MODEL)
    fake = types.ModuleType("models.serving")

    def model_spec(onnx_path: Path, meta_path: Path) -> dict[str, object]:
        files = {"onnx": str(onnx_path), "meta": str(meta_path)}
        return {"python_model": str(finished.root / "echo.py"), "artifacts": files, "pip_requirements": ["onnxruntime"]}

    fake.model_spec = model_spec  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "models.serving", fake)
    monkeypatch.setattr(models, "serving", fake, raising=False)
    finished.export_student("first weights")
    return finished


@pytest.fixture(scope="session")
def params() -> Params:
    """The repository's parameters with two teachers."""
    default = load(REPOSITORY / "params.yaml")
    return default.model_copy(update={"teachers": default.teachers.model_copy(update={"architectures": ARCHITECTURES})})
