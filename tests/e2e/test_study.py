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
import torch

from tests.e2e.database import postgres
from tests.e2e.project import FIVE, Project, environment, make_project

STUDY = (sys.executable, "-m", "pipeline.study")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Project:
    """The tiny project with its images prepared, and smaller grids."""
    project = make_project(tmp_path_factory.mktemp("study") / "my project")
    project.change("trials: 20", "trials: 5")
    for old, new in GRIDS.items():
        project.change(old, new)
    project.repro("noise")
    return project


GRIDS = {
    "      - student.architecture: [densenet121]\n        split.folds: [3]\n        split.fold: [0, 1, 2]\n": (
        "      - student.architecture: [mobilenet_v2]\n        split.folds: [2]\n        split.fold: [0, 1]\n"
    ),
    "subsets.overlap: [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]": "subsets.overlap: [0.0, 0.5, 1.0]",
    f"student.architecture: {FIVE}": "student.architecture: [resnet18, mobilenet_v2]",
    "      - noise.rate: [0.0, 0.2, 0.4]\n": "      - noise.rate: [0.0, 0.4]\n",
    "[0.1, 1.0, 10.0]": "[0.1, 10.0]",
    "noise.kind: [symmetric, pair, matrix, instance]": "noise.kind: [symmetric, pair]",
    "noise.rate: [0.0, 0.2, 0.4, 0.6]": "noise.rate: [0.0, 0.3]",
    "        - [resnet18]\n        - [resnet18, resnet34]\n        - [resnet18, resnet34, resnet50]\n": "",
    "        - [resnet18, resnet34, resnet50, mobilenet_v2]\n": "        - [resnet18]\n",
    f"        - {FIVE}": "        - [resnet18, mobilenet_v2]",
}
"""The repository's grids with fewer values and smaller networks."""
CELLS = {
    "methods": 1,
    "folds": 2,
    "overlap": 6,
    "student": 2,
    "ingredients": 1,
    "beyond": 6,
    "weighting": 8,
    "noise": 4,
    "teachers": 2,
}


def trials(project: Project, name: str) -> pd.DataFrame:
    return pd.read_csv(project.path / f"artifacts/studies/{name}/trials.csv")


def test_two_workers_search_and_the_best_parameters_are_applied(prepared, tmp_path):
    project = prepared.copy(tmp_path / "copy")
    told = project.run(*STUDY, "run", "mine", "--workers", "2")
    table = trials(project, "mine")
    assert table["unit"].tolist() == list(range(5))
    assert set(table["state"]) <= {"complete", "pruned"}
    first: Any = table.iloc[0]
    assert (first["distillation.tau"], first["distillation.alpha"], first["subsets.overlap"]) == (0.5, 0.9, 0.4)
    assert "RoS-KD, params.yaml" in told
    assert "Teachers and soft labels, made once for all trials" in told
    for name in ("history", "slice"):
        assert (project.path / f"artifacts/studies/mine/figures/{name}.png").stat().st_size > 10_000
    best: Any = table.loc[table["value"] == table["value"].max()].iloc[0]
    told = project.run(*STUDY, "apply", "mine")
    text = (project.path / "params.yaml").read_text()
    assert f"tau: {best['distillation.tau']}" in text
    assert "# temperature, > 0; the paper's 0.5 sharpens, 1 to 4 softens" in text
    told = project.run(*STUDY, "run", "mine")  # nothing is left to do
    assert "5 of 5 trials done, 0 to do" in told
    store = sorted((project.path / "artifacts/store/answers").glob("[!.]*"))
    assert len(store) == 2 * table["subsets.overlap"].nunique()  # two teachers for each overlap that was met


def test_an_interrupted_search_goes_on_with_the_trials_left(prepared, tmp_path):
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
    told = log.read_text()
    assert "the same command goes on" in told
    assert "Traceback" not in told
    told = project.run(*STUDY, "run", "mine")
    assert re.search(r"study mine: [1-4] of 5 trials done", told), told
    assert trials(project, "mine")["unit"].tolist() == list(range(5))


def test_three_workers_on_postgresql_one_of_them_killed(prepared, tmp_path):
    project = prepared.copy(tmp_path / "copy")
    project.change("trials: 5", "trials: 20")
    project.change("pruner: median", "pruner: none")
    elsewhere = project.copy(tmp_path / "another machine")
    with postgres() as url:
        env = environment() | {"ROSKD_STUDY_STORAGE": url, "OMP_NUM_THREADS": "1"}
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
        told = log.read_text()
        tries = [trial for trial in _study(url).trials if trial.user_attrs["unit"] == lost.user_attrs["unit"]]
        assert [trial.state.name for trial in tries] == ["FAIL", "COMPLETE"]
        assert tries[0].number == lost.number
        assert tries[1].params == lost.params
    table = trials(project, "mine")
    assert table["unit"].tolist() == list(range(20)), told
    assert set(table["state"]) == {"complete"}
    done = [line.split(":")[0] for line in told.splitlines() if line.startswith("mine ") and "validation" in line]
    assert sorted(done) == sorted(f"mine {unit}" for unit in range(20))


@pytest.mark.parametrize("name", sorted(CELLS))
def test_every_ablation_runs_to_its_tables_and_picture(prepared, name):
    told = prepared.run(*STUDY, "run", name)
    folder = prepared.path / "artifacts/studies" / name
    summary, results = pd.read_csv(folder / "summary.csv"), pd.read_csv(folder / "results.csv")
    comparisons = pd.read_csv(folder / "comparisons.csv")
    factors = list(summary.columns[: list(summary.columns).index("method")])
    assert len(summary[factors].drop_duplicates()) == CELLS[name], told
    assert {"roskd"} < set(summary["method"])
    chosen = summary.loc[(summary["method"] == "roskd") & (summary["metric"] == "f1_macro")]
    own = results.loc[(results["method"] == "roskd") & (results["metric"] == "f1_macro") & (results["split"] == "test")]
    assert np.allclose(chosen["value"], own["value"])
    assert (chosen["low"] <= chosen["high"]).all()
    against = comparisons.loc[comparisons["method_a"] == "roskd", "method_b"]
    assert set(against) == set(summary["method"]) - {"roskd"}
    assert comparisons["p_holm"].between(0, 1).all()
    picture = folder / "figures/grid.png"
    assert picture.stat().st_size > 20_000
    assert "data:image/png;base64" in (folder / "index.html").read_text()


def test_a_setting_that_fails_is_left_out_of_a_grid_and_told(prepared, tmp_path):
    project = prepared.copy(tmp_path / "copy")
    own = "    mine:\n      methods: [baseline_1]\n      vary:\n      - training.lr: [0.005, 1.0e+30]\n    folds: "
    project.change("    folds: ", own)
    told = project.run(*STUDY, "run", "mine")
    assert "Left out: training.lr 1e+30, since seed 0 failed: the loss became" in told
    folder = project.path / "artifacts/studies/mine"
    assert pd.read_csv(folder / "summary.csv")["training.lr"].unique().tolist() == [0.005]
    assert "Left out: training.lr 1e+30" in (folder / "index.html").read_text()
    assert "2 of 2 cells done, 0 to do" in project.run(*STUDY, "run", "mine")


def test_a_grid_gives_the_students_of_the_stages(finished, tmp_path):
    project = finished[0].copy(tmp_path / "copy")
    project.run(*STUDY, "run", "ingredients")
    ours = pd.read_csv(project.path / "artifacts/studies/ingredients/results.csv", keep_default_na=False)
    theirs = pd.read_csv(project.path / "artifacts/metrics/students.csv", keep_default_na=False)
    keys = ["seed", "method", "checkpoint", "split", "metric", "class"]
    both = ours.merge(theirs, on=keys, suffixes=("", "_stage"))
    assert set(both["method"]) == {"baseline_3", "baseline_3_same", "baseline_5", "roskd"}
    assert len(both) > 300
    assert (both["value"].astype(str) == both["value_stage"].astype(str)).all()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("storage: journal", "storage: postgresql://nobody@127.0.0.1:1/optuna", "study.storage postgresql://nobody@127"),
        ("storage: journal", "storage: sheet.xlsx", "study.storage is 'sheet.xlsx': neither journal nor the URL"),
        ("high: 20.0", "high: 0.1", "study.space.distillation.tau: low is 0.25 and high is 0.1, an empty range"),
        ("sampler: tpe", "sampler: tpee", "study.sampler is 'tpee'"),
        ("    distillation.tau:", "    distillation.taux:", "distillation.taux is not a parameter; did you mean"),
        ("low: 0.25, high: 20.0", "low: 0.25, high: 30.0", "study.space.distillation.tau was"),
        pytest.param(
            "  device: auto ", "  device: cuda ", "of 2 trials are left, though its workers have ended",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has the GPU that is asked for"),
        ),
        ("  lr: 0.005 ", "  lr: 1.0e+30 ", "none of its 2 trials is complete; the first reason: the loss became"),
    ],
)  # fmt: skip
def test_bad_input_is_told_and_nothing_is_damaged(prepared, tmp_path, old, new, message):
    project = prepared.copy(tmp_path / "copy")
    project.change("trials: 5", "trials: 2")
    begun = message.endswith(" was")
    if begun:
        project.run(*STUDY, "run", "mine")
    journal = project.path / "artifacts/studies/journal.log"
    before = journal.read_bytes() if journal.exists() else b""
    project.change(old, new)
    told = project.run(*STUDY, "run", "mine", ok=False)
    assert message in told
    assert "Traceback" not in told
    assert not journal.exists() or journal.read_bytes().startswith(before)
    if begun:
        project.change(new, old)
        assert "2 of 2 trials done, 0 to do" in project.run(*STUDY, "run", "mine")


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
