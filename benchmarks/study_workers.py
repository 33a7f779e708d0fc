"""How much sooner does a study end with two workers than with one? A grid of two cells, each worker with one thread.

The cells differ in the temperature alone, so that they share all teachers and their answers, which are most of the
work: whoever is free takes the next teacher, and then the students. Both studies run in one copy of this tree on data
prepared beforehand, each with an empty store. Their time goes from the command to the end of its report, so that
starting Python, waiting for the other worker and reporting count. It takes minutes, so it runs only when it is named.
"""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.copies import copy_project, wall_seconds
from benchmarks.rows import Row, at_most
from pipeline.common.layout import Layout
from pipeline.distillation.methods import runs_of
from pipeline.params.tree import Params
from pipeline.runtime.workers import count_cores

GRID = "workers"
METHODS = ["baseline_3", "baseline_3_same", "baseline_5", "roskd"]
TAUS = [0.5, 2.0]
SETTINGS: dict[str, Any] = {
    "seeds": [0],
    "data": {"phantom": {"images": 800}},
    "views": {"count": 2},
    "training": {"epochs": 3},
    "machine": {"device": "cpu"},
    "tracking": {"enabled": False},
    "study": {"grids": {GRID: {"methods": METHODS, "vary": [{"distillation.tau": TAUS}]}}},
}
"""Laid over params.yaml: one worker takes about two minutes."""
STAGES = ("check", "code", "prepare", "split", "noise")
WORKERS = 2
LIMIT = 0.60


def measure(params: Params) -> list[Row]:
    """Return the wall time of the study with WORKERS workers over that with one, from one run of each."""
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder) / "project"
        copy_project(project, SETTINGS)
        for stage in STAGES:
            wall_seconds(project, "python", "-m", "pipeline.stages", stage)
        modules = "pipeline.study.run, pipeline.study.page"
        wall_seconds(project, "python", "-c", f"import {modules}")  # else the first study alone would compile them
        seconds = [_study(project, workers) for workers in (1, WORKERS)]
    return [row(*seconds)]


def row(alone: float, together: float) -> Row:
    """The ratio of two studies' wall seconds."""
    what = (
        f"wall time of a grid of {len(TAUS)} cells ({len(TAUS) * len(runs_of(METHODS))} students on shared teachers) "
        f"with {WORKERS} workers of one thread, {together:.0f} s, over one such worker, {alone:.0f} s (one run each); "
        f"start and report included, CPU, {count_cores()} cores"
    )
    return at_most("study_workers", [together / alone], LIMIT, what)


def _study(project: Path, workers: int) -> float:
    """Run the whole study anew; raises RuntimeError where it leaves a student out."""
    layout = Layout(project / "artifacts")
    for made in (layout.store, layout.studies):
        shutil.rmtree(made, ignore_errors=True)
    command = ["python", "-m", "pipeline.study", "run", GRID, "--workers", str(workers)]
    seconds = wall_seconds(project, *command, OMP_NUM_THREADS="1")
    _require_all(list((layout.store / "students").glob("[!.]*")))
    return seconds


def _require_all(students: Sequence[Path]) -> None:
    wanted = len(TAUS) * len(runs_of(METHODS))
    if len(students) != wanted:
        raise RuntimeError(f"study_workers: {len(students)} students were trained, not {wanted}; see what it printed")
