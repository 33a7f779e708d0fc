"""Benchmarks that run the project itself, in a copy of it: the clock inside stages, and the rows read off it."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import (
    copies,
    only_roskd,
    overhead,
    study_workers,
)
from benchmarks.clock import sitecustomize as clock
from pipeline.common.errors import UserError
from pipeline.params.file import load


@pytest.mark.parametrize(
    ("intervals", "length"),
    [([], 0.0), ([(0, 2), (3, 4)], 3.0), ([(0, 5), (1, 2)], 5.0), ([(3, 6), (0, 4)], 6.0)],
)
def test_the_union_of_intervals(intervals, length):
    assert overhead.covered(intervals) == length


def test_overhead_is_what_no_tensor_work_covers():
    stages = [
        overhead.Stage(10.0, 20.0, [(14.0, 18.0), (15.0, 16.0)]),  # a prediction inside another interval
        overhead.Stage(30.0, 40.0, []),  # a stage without torch
    ]
    row = overhead.row(100.0, stages)
    assert (row.median, row.low, row.high, row.n, row.met) == (0.96, 0.96, 0.96, 1, False)
    assert "100 s, of which torch 4; between 2 stages 80, in stages before their first tensor work 14, after it 2" in (
        row.what
    )


def test_the_clock_wraps_what_stages_compute_with(tmp_path):
    module = tmp_path / "models/inference.py"
    module.parent.mkdir()
    module.write_text("import time\ndef predict(seconds):\n    time.sleep(seconds)\n    return seconds\n")
    program = "from models.inference import predict; assert predict(0.05) == 0.05"
    watched = {"PYTHONPATH": os.pathsep.join([str(overhead.CLOCK), str(tmp_path)]), "ROSKD_CLOCK": str(tmp_path)}
    subprocess.run([sys.executable, "-c", program], env=os.environ | watched, cwd=tmp_path, check=True)
    (path,) = tmp_path.glob("*.json")
    record = json.loads(path.read_text())
    ((begun, ended),) = record["torch"]
    assert record["started"] <= begun
    assert 0.05 <= ended - begun < 1
    assert ended <= record["ended"]
    assert overhead.read(path) is None  # no stage
    path.write_text(json.dumps(record | {"arguments": ["python", "-m", "pipeline.stages", "evaluate"]}))
    assert overhead.read(path) == overhead.Stage(record["started"], record["ended"], [(begun, ended)])


def test_the_clock_watches_what_is_there():
    for name, functions in clock.WATCHED.items():
        for function in functions:
            owner = importlib.import_module(name)
            for part in function.split("."):
                owner = getattr(owner, part)
            assert callable(owner)


def test_the_clock_covers_every_prediction_of_the_stages(tmp_path):
    program = (
        "from pipeline.recipes import answers, bench\n"
        "from pipeline.training import backbone\n"
        "from models import export\n"
        "from pipeline.training.loop import _Training\n"
        "for function in (answers.shown_answers, bench.answers, backbone.answers, export.predict, _Training._train):\n"
        "    assert hasattr(function, '__wrapped__'), function\n"
    )
    watched = {"PYTHONPATH": str(overhead.CLOCK), "ROSKD_CLOCK": str(tmp_path)}
    subprocess.run([sys.executable, "-c", program], env=os.environ | watched, cwd=copies.ROOT, check=True)


def test_a_copy_of_the_project_is_a_repository_with_other_settings(tmp_path, monkeypatch):
    copies.copy_project(tmp_path, study_workers.SETTINGS)
    params = load(tmp_path / "params.yaml")
    assert (params.training.epochs, params.tracking.enabled) == (3, False)
    assert params.study.grids[study_workers.GRID].vary == ({"distillation.tau": (0.5, 2.0)},)
    assert not (tmp_path / "artifacts").exists()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://nowhere")
    listed = "git status --porcelain && echo $MLFLOW_TRACKING_URI$OWN && command -v python"
    assert 0 < copies.wall_seconds(tmp_path, "sh", "-c", f"({listed}) > ../printed", OWN="own") < 60
    printed = (tmp_path.parent / "printed").read_text().splitlines()
    assert printed == ["own", str(Path(sys.executable).parent / "python")]
    with pytest.raises(subprocess.CalledProcessError):
        copies.wall_seconds(tmp_path, "false")
    with pytest.raises(UserError, match="taau"):
        copies.copy_project(tmp_path / "other", {"distillation": {"taau": 1.0}})


@pytest.fixture
def commands(monkeypatch):
    """What the rows on copies run, without running it: a study makes six students and takes 100 s per worker left."""
    run: list[tuple[str, dict[str, str]]] = []

    def wall_seconds(project: Path, *command: str, **variables: str) -> float:
        run.append((" ".join(command), variables))
        if "pipeline.study" not in command:
            return 1.0
        students = project / "artifacts/store/students"
        assert not students.exists(), "the store of the study before"
        for name in [*map(str, range(6)), ".unfinished"]:
            (students / name).mkdir(parents=True)
        return 100 / int(command[-1]) + 5

    monkeypatch.setattr(study_workers, "copy_project", lambda project, settings: project.mkdir())
    monkeypatch.setattr(study_workers, "wall_seconds", wall_seconds)
    return run


def test_a_study_with_two_workers_is_divided_by_one_with_one(commands):
    (row,) = study_workers.measure(load())
    assert (row.name, row.target, row.met, row.n) == ("study_workers", "<= 0.6", True, 1)
    assert row.median == pytest.approx(55 / 105)
    assert "a grid of 2 cells (6 students on shared teachers) with 2 workers of one thread, 55 s, over" in row.what
    assert [command for command, _ in commands[:5]] == [
        f"python -m pipeline.stages {stage}" for stage in ("check", "code", "prepare", "split", "noise")
    ]
    assert commands[-2:] == [
        (f"python -m pipeline.study run workers --workers {workers}", {"OMP_NUM_THREADS": "1"}) for workers in (1, 2)
    ]
    assert study_workers.row(100.0, 61.0).met is False


def test_a_study_that_leaves_a_student_out_is_no_measurement(commands, monkeypatch):
    monkeypatch.setattr(study_workers, "METHODS", ["baseline_3", "roskd"])
    with pytest.raises(RuntimeError, match="6 students were trained, not 4"):
        study_workers.measure(load())


def test_roskd_alone_is_divided_by_the_default_methods(monkeypatch):
    seconds, copied = {"roskd": 40.0}, []

    def copy(project: Path, settings: dict) -> None:
        copied.append(settings)

    def wall_seconds(project: Path, *command: str) -> float:
        assert command == ("python", "-m", "pipeline.stages", "all")
        return seconds.get("+".join(copied[-1]["methods"]), 100.0)

    monkeypatch.setattr(only_roskd, "copy_project", copy)
    monkeypatch.setattr(only_roskd, "wall_seconds", wall_seconds)
    params = load()
    (row,) = only_roskd.measure(params)
    assert (row.name, row.median, row.target, row.met) == ("only_roskd", 0.4, "<= 0.45", True)
    assert [one["methods"] for one in copied] == [["roskd"], list(params.methods)]
    assert [one["tracking"] for one in copied] == [{"enabled": False}] * 2
    assert "methods: [roskd], 40 s, over that with 8 methods, 100 s" in row.what
    assert only_roskd.row(46.0, 100.0, 8).met is False
