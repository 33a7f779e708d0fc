"""What does RoS-KD alone cost? The whole pipeline with `methods: [roskd]` against that with the default methods.

Alone it needs the five teachers on subsets and one student; the default methods need those on all data, too, and six
students more. Each runs once, by `python -m pipeline.stages all` in a copy of this tree of its own, tracking off. It
takes longer than `make repro` does, so it runs only when it is named.
"""

import tempfile
from pathlib import Path
from typing import Any

from benchmarks.copies import copy_project, wall_seconds
from benchmarks.rows import Row, at_most
from pipeline.distillation.methods import SUBJECT
from pipeline.params.tree import Params

SETTINGS: dict[str, Any] = {"tracking": {"enabled": False}}
"""Laid over params.yaml in both."""
LIMIT = 0.45


def measure(params: Params) -> list[Row]:
    """Return the wall time of the pipeline for RoS-KD alone over that for all methods of `params`."""
    alone = _pipeline([SUBJECT])
    return [row(alone, _pipeline(list(params.methods)), len(params.methods))]


def row(alone: float, everything: float, methods: int) -> Row:
    """The ratio of two pipelines' wall seconds; the second is that of so many `methods`."""
    what = (
        f"wall time of the whole pipeline with methods: [{SUBJECT}], {alone:.0f} s, over that with {methods} methods, "
        f"{everything:.0f} s (one run each); without DVC and MLflow"
    )
    return at_most("only_roskd", [alone / everything], LIMIT, what)


def _pipeline(methods: list[str]) -> float:
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder) / "project"
        copy_project(project, SETTINGS | {"methods": methods})
        return wall_seconds(project, "python", "-m", "pipeline.stages", "all")
