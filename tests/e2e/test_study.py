"""Studies on the tiny project: searched by several workers, killed, interrupted, continued; and every ablation grid."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest

from pipeline.common.errors import UserError
from pipeline.common.layout import Layout
from pipeline.params.file import load
from pipeline.study.grid import Grid
from pipeline.study.page import finish
from pipeline.study.plan import make_plan
from pipeline.study.run import run as run_study
from pipeline.study.students import Students
from tests.e2e.database import postgres
from tests.e2e.project import FIVE, Project, environment, make_project

pytestmark = pytest.mark.slow

STUDY = (sys.executable, "-m", "pipeline.study")
ONE_THREAD = {"OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Project:
    """The tiny project with its images prepared, smaller grids, and without a tracker."""
    project = make_project(tmp_path_factory.mktemp("study") / "my project")
    project.change("trials: 20", "trials: 5")
    project.change("  enabled: true ", "  enabled: false ")
    for old, new in GRIDS.items():
        project.change(old, new)
    for stage in ("check", "prepare", "split", "noise"):
        project.run(sys.executable, "-m", "pipeline.stages", stage)
    return project


GRIDS = {
    "      - student.architecture: [densenet121]\n        split.folds: [3]\n        split.fold: [0, 1, 2]\n": (
        "      - student.architecture: [mobilenet_v2]\n        split.folds: [2]\n        split.fold: [0, 1]\n"
    ),
    "subsets.overlap: [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]": "subsets.overlap: [0.0, 1.0]",
    f"student.architecture: {FIVE}": "student.architecture: [resnet18, mobilenet_v2]",
    "      - noise.rate: [0.0, 0.2, 0.4]\n": "      - noise.rate: [0.0, 0.4]\n",
    "[none, weighted, logit_adjusted]": "[none, weighted]",
    "[0.1, 1.0, 10.0]": "[0.1]",
    "noise.kind: [symmetric, pair, matrix, instance]": "noise.kind: [symmetric, pair]",
    "noise.rate: [0.0, 0.2, 0.4, 0.6]": "noise.rate: [0.4]",
    "        - [resnet18]\n        - [resnet18, resnet34]\n        - [resnet18, resnet34, resnet50]\n": "",
    "        - [resnet18, resnet34, resnet50, mobilenet_v2]\n": "        - [resnet18]\n",
    f"        - {FIVE}": "        - [resnet18, mobilenet_v2]",
}
"""The repository's grids with fewer values and smaller networks."""
CELLS = {
    "methods": 1,
    "folds": 2,
    "overlap": 4,
    "student": 2,
    "ingredients": 1,
    "beyond": 4,
    "weighting": 4,
    "noise": 2,
    "teachers": 2,
}


def trials(project: Project, name: str) -> pd.DataFrame:
    return pd.read_csv(project.path / f"artifacts/studies/{name}/trials.csv")


def made(project: Project) -> dict[str, int]:
    """How many results of each kind are in the store."""
    store = project.path / "artifacts/store"
    return {kind: len(list((store / kind).glob("[!.]*"))) for kind in ("teachers", "answers", "students")}


def test_two_workers_search_and_the_best_parameters_are_applied(prepared, tmp_path):
    project = prepared.copy(tmp_path / "copy")
    printed = project.run(*STUDY, "run", "mine", "--workers", "2", **ONE_THREAD)
    table = trials(project, "mine")
    assert table["unit"].tolist() == list(range(5))
    assert set(table["state"]) <= {"complete", "pruned"}
    first: Any = table.iloc[0]
    assert (first["distillation.tau"], first["distillation.alpha"], first["subsets.overlap"]) == (4.0, 0.9, 0.4)
    assert "RoS-KD, params.yaml" in printed
    assert "Teachers and soft labels, made once for all trials" in printed
    for name in ("history", "slice"):
        assert (project.path / f"artifacts/studies/mine/figures/{name}.png").stat().st_size > 10_000
    best: Any = table.loc[table["value"] == table["value"].max()].iloc[0]
    project.run(*STUDY, "apply", "mine")
    text = (project.path / "params.yaml").read_text()
    assert f"tau: {best['distillation.tau']}" in text
    assert "# temperature, > 0; the paper's 0.5 sharpens, 1 to 4 softens" in text
    found = made(project)
    assert found["teachers"] == found["answers"] == 2 * table["subsets.overlap"].nunique()  # once for each overlap
    assert not list((project.path / "artifacts/store/teachers").rglob("*.safetensors"))  # used, and dropped


def test_an_interrupted_search_continues_with_the_trials_left(prepared, tmp_path):
    project = prepared.copy(tmp_path / "copy")
    log = tmp_path / "log"
    with log.open("w") as stream:
        heard = signal.signal(signal.SIGINT, signal.default_int_handler)  # under nohup or `&` the shell ignores Ctrl-C
        process = subprocess.Popen(
            [*STUDY, "run", "mine"], cwd=project.path, env=environment(), stdout=stream, stderr=stream,
            start_new_session=True,
        )  # fmt: skip
        signal.signal(signal.SIGINT, heard)
        _wait_for(log, "mine 1:")
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(60) == 130
    printed = log.read_text()
    assert "the same command continues" in printed
    assert "Traceback" not in printed
    printed = project.run(*STUDY, "run", "mine")
    assert re.search(r"study mine: [1-4] of 5 trials done", printed), printed
    assert trials(project, "mine")["unit"].tolist() == list(range(5))


def test_three_workers_on_postgresql_one_of_them_killed(prepared, tmp_path):
    project = prepared.copy(tmp_path / "copy")
    project.change("trials: 5", "trials: 50")
    project.change("pruner: median", "pruner: none")
    elsewhere = project.copy(tmp_path / "another machine")
    with postgres() as url:
        env = environment() | {"ROSKD_STUDY_STORAGE": url} | ONE_THREAD
        log = tmp_path / "log"
        with log.open("w") as stream:
            run = subprocess.Popen([*STUDY, "run", "mine"], cwd=project.path, env=env, stdout=stream, stderr=stream)
            _wait_for(log, "mine 0:")
            more = [
                subprocess.Popen([*STUDY, "worker", "mine"], cwd=place.path, env=env, stdout=stream, stderr=stream)
                for place in (project, elsewhere)
            ]
            lost = _running_trial(url, more[0])
            more[0].kill()
            assert run.wait(900) == 0, log.read_text()
            assert more[1].wait(120) == 0
        printed = log.read_text()
        again = [one for one in _study(url).trials if lost.number in one.system_attrs.get("retry_history", [])]
        assert _study(url).trials[lost.number].state.name == "FAIL"
        assert [one.state.name for one in again] == ["COMPLETE"], printed
        assert again[0].params == lost.params
    table = trials(project, "mine")
    assert table["unit"].tolist() == list(range(50)), printed
    assert set(table["state"]) == {"complete"}
    done = [line.split(":")[0] for line in printed.splitlines() if line.startswith("mine ") and "validation" in line]
    assert sorted(done) == sorted(f"mine {number}" for number in table["trial"])


def test_every_ablation_runs_to_its_tables_and_picture(prepared, tmp_path, monkeypatch):
    """All grids of params.yaml in this process, on one store: what one has trained, the next has not to."""
    monkeypatch.chdir(prepared.copy(tmp_path / "copy").path)
    params, layout = load(), Layout()
    students = Students(params, layout)
    for name, count in CELLS.items():
        Grid(make_plan(name, params, students.data.digest), params, layout, students).work()
        finish(params, layout, name)
        _check_grid(layout.study(name), count)


def _check_grid(folder: Path, count: int) -> None:
    summary, results = pd.read_csv(folder / "summary.csv"), pd.read_csv(folder / "results.csv")
    comparisons = pd.read_csv(folder / "comparisons.csv")
    factors = list(summary.columns[: list(summary.columns).index("method")])
    assert len(summary[factors].drop_duplicates()) == count, folder
    assert {"roskd"} < set(summary["method"])
    chosen = summary.loc[(summary["method"] == "roskd") & (summary["metric"] == "f1_macro")]
    own = results.loc[(results["method"] == "roskd") & (results["metric"] == "f1_macro") & (results["split"] == "test")]
    assert np.allclose(chosen["value"], own["value"])
    assert (chosen["low"] <= chosen["high"]).all()
    against = comparisons.loc[comparisons["method_a"] == "roskd", "method_b"]
    assert set(against) == set(summary["method"]) - {"roskd"}
    assert comparisons["p_holm"].between(0, 1).all()
    assert (folder / "figures/grid.png").stat().st_size > 20_000
    assert "data:image/png;base64" in (folder / "index.html").read_text()


def test_methods_choose_for_themselves_among_what_could_be_trained(prepared, tmp_path):
    project = prepared.copy(tmp_path / "copy")
    own = (
        "    mine:\n      methods: [baseline_1, gce]\n      vary:\n"
        "      - noise.rate: [0.4]\n        student.lr_factor: [1.0, 0.5, 1.0e+32]\n      pick: [student.lr_factor]\n"
    )
    project.change("    folds: ", f"{own}    folds: ")
    printed = project.run(*STUDY, "run", "mine", "--workers", "2", **ONE_THREAD)
    assert "Left out: noise.rate 0.4, student.lr_factor 1e+32, since seed 0 failed: the loss became" in printed
    folder = project.path / "artifacts/studies/mine"
    picks = pd.read_csv(folder / "picks.csv")
    best = picks.loc[picks.groupby("method")["val/f1_macro"].idxmax()].set_index("method")["student.lr_factor"]
    chosen = picks.loc[picks["chosen"]].set_index("method")["student.lr_factor"]
    assert picks.groupby("method")["student.lr_factor"].apply(list).to_dict() == {
        name: [1.0, 0.5] for name in chosen.index
    }
    assert chosen.to_dict() == best.to_dict()
    results = pd.read_csv(folder / "results.csv").set_index(["method", "split", "metric", "checkpoint"])
    for method, value in picks.loc[picks["chosen"]].set_index("method")["val/f1_macro"].items():
        assert results.loc[(method, "val", "f1_macro", "last"), "value"].max() == pytest.approx(value)
    page = (folder / "index.html").read_text()
    assert "each method at the student.lr_factor that validation favours" in page
    assert " ✓" in page


def test_a_setting_that_fails_is_left_out_of_a_grid_with_its_reason(prepared, tmp_path, monkeypatch):
    project = prepared.copy(tmp_path / "copy")
    own = "    mine:\n      methods: [baseline_1]\n      vary:\n      - training.lr: [0.02, 1.0e+30]\n    folds: "
    project.change("    folds: ", own)
    printed = project.run(*STUDY, "run", "mine", "--workers", "2", **ONE_THREAD)
    assert "Left out: training.lr 1e+30, since seed 0 failed: the loss became" in printed
    folder = project.path / "artifacts/studies/mine"
    assert pd.read_csv(folder / "summary.csv")["training.lr"].unique().tolist() == [0.02]
    assert "Left out: training.lr 1e+30" in (folder / "index.html").read_text()
    monkeypatch.chdir(project.path)
    params, layout = load(), Layout()
    students = Students(params, layout)
    grid = Grid(make_plan("mine", params, students.data.digest), params, layout, students)
    assert grid.left() == []
    grid.forget_failures()
    assert grid.left() == [1]


def test_a_killed_worker_of_a_grid_leaves_its_student_to_the_next(prepared, tmp_path):
    project = prepared.copy(tmp_path / "copy")
    with (tmp_path / "log").open("w") as stream:
        worker = subprocess.Popen(
            [*STUDY, "worker", "ingredients"], cwd=project.path, env=environment(), stdout=stream, stderr=stream
        )
        deadline = time.monotonic() + 300
        while not list(project.path.glob("artifacts/store/*/.*/resume.pt")):
            assert worker.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        worker.kill()
        worker.wait(60)
    assert "0 of 1 cells done" in project.run(*STUDY, "run", "ingredients")
    assert pd.read_csv(project.path / "artifacts/studies/ingredients/summary.csv")["method"].nunique() == 5
    unfinished = [path for path in (project.path / "artifacts/store").rglob(".*") if path.suffix != ".lock"]
    assert unfinished == []


def test_a_grid_after_the_pipeline_trains_nothing_and_gives_its_figures(finished, tmp_path):
    project = finished[0].copy(tmp_path / "copy")
    before = made(project)
    printed = project.run(*STUDY, "run", "methods")
    assert "1 of 1 cells done, 0 to do" in printed
    assert made(project) == before
    ours = pd.read_csv(project.path / "artifacts/studies/methods/results.csv", keep_default_na=False)
    theirs = pd.read_csv(project.path / "artifacts/metrics/students.csv", keep_default_na=False)
    keys = ["seed", "method", "checkpoint", "split", "metric", "class"]
    both = ours.merge(theirs, on=keys, suffixes=("", "_stage"))
    assert len(both) == len(ours) == len(theirs)
    assert (both["value"].astype(str) == both["value_stage"].astype(str)).all()
    count = "print(len(mlflow.search_runs(search_all_experiments=True, filter_string=\"tags.`roskd.kind` = 'trial'\")))"
    assert project.run(sys.executable, "-c", f"import mlflow; {count}").strip().endswith("1")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("storage: sqlite", "storage: postgresql://nobody@127.0.0.1:1/optuna", "study.storage postgresql://nobody@127"),
        ("storage: sqlite", "storage: sheet.xlsx", "study.storage is 'sheet.xlsx': neither sqlite nor the URL"),
        ("high: 20.0", "high: 0.1", "study.space.distillation.tau: low is 0.25 and high is 0.1, an empty range"),
        ("sampler: tpe", "sampler: tpee", "study.sampler is 'tpee'"),
        ("    distillation.tau:", "    distillation.taux:", "distillation.taux is not a parameter; did you mean"),
    ],
)
def test_bad_input_is_an_error_before_anything_is_made(prepared, tmp_path, monkeypatch, old, new, message):
    project = prepared.copy(tmp_path / "copy")
    project.change(old, new)
    monkeypatch.chdir(project.path)
    before = made(project)
    with pytest.raises(UserError) as error:
        run_study(load(), Layout(), "mine", 1)
    assert message in str(error.value)
    assert made(project) == before


def test_a_search_without_a_complete_trial_says_why(prepared, tmp_path):
    project = prepared.copy(tmp_path / "copy")
    project.change("trials: 5", "trials: 2")
    project.change("  lr: 0.02 ", "  lr: 1.0e+30 ")
    printed = project.run(*STUDY, "run", "mine", ok=False)
    assert "none of its 2 trials is complete; the first reason: the loss became" in printed
    assert "Traceback" not in printed


def _study(url: str) -> optuna.Study:
    storage = optuna.storages.RDBStorage(url.replace("postgresql:", "postgresql+psycopg2:"))
    return optuna.load_study(study_name="mine", storage=storage)


def _running_trial(url: str, worker: subprocess.Popen) -> optuna.trial.FrozenTrial:
    """Wait until this worker has a trial, and return it."""
    until, study = time.monotonic() + 300, _study(url)
    while time.monotonic() < until:
        for trial in study.get_trials(states=(optuna.trial.TrialState.RUNNING,)):
            if trial.user_attrs.get("worker", "").endswith(f"process {worker.pid}") and len(trial.params) == 4:
                return trial
        time.sleep(0.1)
    raise AssertionError("the worker never had a trial")


def _wait_for(log: Path, text: str) -> None:
    until = time.monotonic() + 300
    while text not in log.read_text():
        assert time.monotonic() < until, log.read_text()
        time.sleep(0.2)
