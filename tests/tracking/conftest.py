"""A finished pipeline in miniature, and a fresh tracking store that costs a copy instead of a migration."""

import csv
import io
import json
import shutil
import sys
import types
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import models
from pipeline.common.layout import POOLS, Layout
from pipeline.distillation.methods import METHODS
from pipeline.params.tree import Params

ARCHITECTURES = ("resnet18", "densenet121")
RUNS = ("baseline_1", "baseline_2", "baseline_3", "baseline_3_same", "baseline_4", "baseline_5", "roskd_unseen")
HISTORY = "epoch,split,metric,value\n1,train,loss,1.5\n1,val,f1_macro,0.25\n2,train,loss,\n2,val,f1_macro,0.375\n"
VALIDATION = 40
"""Validation samples of an exported student, each a group of its own."""
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
    "sizes": [{"height": 32, "width": 32, "images": 3}],
    "other_sizes": 0,
    "quarantined": {"broken_7": "image is truncated"},
    "duplicate_sets": 0,
    "conflicting_sets": 0,
    "duplicates": [],
    "params": {},
    "hashes": {},
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

    @property
    def layout(self) -> Layout:
        """The paths of its artefacts."""
        return Layout(self.root / "artifacts")

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
        self.write_csv(self.layout.student_metrics, "seed,method,checkpoint,split,metric,class,value", rows)
        trained = [(0, "baseline_1", "", "changed", 0.125), (0, "resnet18", "subset", "changed_unseen", 0.25)]
        self.write_csv(self.layout.training_metrics, "seed,network,pool,metric,value", trained)

    def export_student(self, weights: str, right: int = 30, method: str = "roskd-smoothed") -> None:
        """Write two files in place of an ONNX model and its description, and its predictions of VALIDATION samples.

        The last `right` of them are classified correctly.
        """
        self.write(self.layout.onnx, weights)
        self.write(self.layout.onnx_meta, "{}\n")
        names, targets = [f"v{i}" for i in range(VALIDATION)], np.arange(VALIDATION) % 2
        answers = np.where(np.arange(VALIDATION) >= VALIDATION - right, targets, 1 - targets)
        found = {"sample_ids": np.array(names), "targets": targets, "logits": np.eye(2, dtype=np.float32)[answers]}
        path = self.layout.all_predictions / "0" / f"{method}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, **{f"{split}_{key}": value for split in ("val", "test") for key, value in found.items()})
        self.write_csv(self.layout.samples, "sample_id,group_id", [(name, f"g{i}") for i, name in enumerate(names)])
        self.write_csv(
            self.layout.labels, "sample_id,given,published,flipped", [(name, "NV", "NV", 0) for name in names]
        )

    def write_all(self) -> None:
        """Write everything but the exported student: two epochs, two teachers in each pool, every student run."""
        self.write(self.layout.data_report, json.dumps(DATA_REPORT))
        self.write_csv(self.layout.splits, "sample_id,split", [("a", "train"), ("b", "val"), ("c", "test")])
        self.write_csv(self.layout.labels, "sample_id,given,published,flipped", [("b", "NV", "DF", 1)])
        self.write("params.yaml", "task: multiclass\n")
        self.write(self.layout.report, "<html></html>")
        self.write(self.layout.data_card, "<html>data</html>")
        self.write(self.layout.table, "table\n")
        self.write(self.layout.figures / "curves.png", "png")
        self.write_students()
        self.write(self.layout.summary, "{}\n")
        self.write(self.layout.summary.with_name(".gitignore"), "/students.csv\n")
        self.write(self.layout.splits.with_name(".unfinished.csv"), "sample_id\n")
        for run in RUNS:
            self.write(self.layout.student_history(0, METHODS[run].pool, run), HISTORY)
        rows: list[tuple[object, ...]] = []
        for pool in POOLS:
            for name in ARCHITECTURES:
                self.write(self.layout.teacher_history(0, pool, name), HISTORY)
                rows += [(0, pool, name, "test", "f1_macro", "", 0.4), (0, pool, name, "val", "f1_macro", "", 0.9)]
        self.write_csv(self.layout.teacher_metrics, "seed,pool,architecture,split,metric,class,value", rows)


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

    def model_spec(onnx_path: Path, *beside: Path) -> dict[str, object]:
        files = {"onnx": str(onnx_path)} | {path.name: str(path) for path in beside}
        return {"python_model": str(finished.root / "echo.py"), "artifacts": files, "pip_requirements": ["onnxruntime"]}

    fake.model_spec = model_spec  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "models.serving", fake)
    monkeypatch.setattr(models, "serving", fake, raising=False)
    finished.export_student("first weights")
    return finished


@pytest.fixture
def layout(finished: Finished) -> Layout:
    """The paths of the finished pipeline."""
    return finished.layout


@pytest.fixture(scope="session")
def make_two(make_params: Callable[..., Params]) -> Callable[..., Params]:
    """Return a function like `make_params`, for two teachers."""

    def make(**sections: Any) -> Params:
        return make_params(teachers={"architectures": list(ARCHITECTURES)}, **sections)

    return make


@pytest.fixture(scope="session")
def params(make_two: Callable[..., Params]) -> Params:
    """The repository's parameters with two teachers."""
    return make_two()
