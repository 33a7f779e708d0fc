"""How much of the default `make repro` is not spent in torch? Imports, DVC, MLflow, files, metrics, plots, all of it.

The experiment runs once, in a copy of this tree without artefacts, cache or tracker. Every Python process below notes
when it ran and when it did tensor work (clock/sitecustomize.py); what no process covers with tensor work is overhead.
It takes as long as `make repro` does, so it runs only when it is named.
"""

import json
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.copies import copy_project, wall_seconds
from benchmarks.rows import Row, at_most
from pipeline.params.tree import Params

CLOCK = Path(__file__).with_name("clock")
LIMIT = 0.25

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
        copy_project(project)
        watched = {"ROSKD_CLOCK": str(clock), "PYTHONPATH": str(CLOCK)}
        wall = wall_seconds(project, "make", "-o", ".venv/.ready", "repro", **watched)  # without a .venv of its own
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
