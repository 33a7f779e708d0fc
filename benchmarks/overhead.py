"""How much of the default `make repro` is not spent in torch? Imports, DVC, MLflow, files, metrics, plots, all of it.

The experiment runs once, in a copy of this tree without artefacts, cache or tracker. Every Python process below notes
when it ran and when it did tensor work (clock/sitecustomize.py); what no process covers with tensor work is overhead.
It takes as long as `make repro` does, so it runs only when it is named.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.rows import Row, at_most
from pipeline.params.tree import Params

ROOT = Path(__file__).parents[1]
CLOCK = Path(__file__).with_name("clock")
LIMIT = 0.25
LEFT_OUT = ("MLFLOW_", "MAKE", "MFLAGS", "BENCH", "PRESET", "DATA", "ROSKD_")
"""Beginnings of environment variables that would change the experiment: a tracker, or what `make bench` was given."""

Interval = tuple[float, float]


@dataclass(frozen=True)
class Stage:
    """One process of the pipeline: when it ran, and when it did tensor work."""

    started: float
    ended: float
    torch: list[Interval]


def measure(params: Params) -> list[Row]:
    """Return the share of wall time outside torch, from one run."""
    with tempfile.TemporaryDirectory() as folder:
        project, clock = Path(folder) / "project", Path(folder) / "clock"
        clock.mkdir()
        _copy(project)
        wall = _make_repro(project, clock)
        stages = [stage for path in clock.glob("*.json") if (stage := read(path)) is not None]
    return [row(wall, stages)]


def row(wall: float, stages: list[Stage]) -> Row:
    """The share of `wall` seconds in which no stage did tensor work."""
    torch = covered(interval for stage in stages for interval in stage.torch)
    running = covered((stage.started, stage.ended) for stage in stages)
    begun = covered((stage.started, min([stage.ended, *(start for start, _ in stage.torch)])) for stage in stages)
    what = (
        f"share of make repro's wall time outside torch (one run): {wall:.0f} s, of which torch {torch:.0f}; between "
        f"{len(stages)} stages {wall - running:.0f}, in stages before their first tensor work {begun:.0f}, after it "
        f"{running - begun - torch:.0f}"
    )
    return at_most("overhead", [1 - torch / wall], LIMIT, what)


def covered(intervals: Iterable[Interval]) -> float:
    """The length of the union of intervals."""
    total, end = 0.0, float("-inf")
    for start, stop in sorted(intervals):
        total += max(0.0, stop - max(start, end))
        end = max(end, stop)
    return total


def read(path: Path) -> Stage | None:
    """The times of a process; None where it was no stage (DVC, git's helpers, workers)."""
    record = json.loads(path.read_text())
    if "pipeline.stages" not in record["arguments"]:
        return None
    return Stage(record["started"], record["ended"], [(start, stop) for start, stop in record["torch"]])


def _copy(project: Path) -> None:
    """Copy what git knows or would take, and make a repository of it."""
    listed = ["git", "ls-files", "-co", "--exclude-standard"]
    for name in subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines():
        if (ROOT / name).is_file() and name != "dvc.lock":
            (project / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, project / name)
    identity = ["-c", "user.name=benchmark", "-c", "user.email=benchmark@example.org"]
    for command in (["init", "-q"], ["add", "-A"], [*identity, "commit", "-qm", "copy"]):
        subprocess.run(["git", *command], cwd=project, check=True)


def _make_repro(project: Path, clock: Path) -> float:
    """Run `make repro` with this environment's Python in place of a .venv of its own; return its wall seconds."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(LEFT_OUT)}
    watched = {"ROSKD_CLOCK": str(clock), "PYTHONPATH": str(CLOCK)}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', '')}"
    started = time.perf_counter()
    subprocess.run(
        ["make", "-o", ".venv/.ready", "repro"], cwd=project, env=kept | watched | {"PATH": path}, check=True
    )
    return time.perf_counter() - started
