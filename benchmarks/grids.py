"""The default setting as a grid in a copy of the project: students over several seeds, a worker on each core."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from benchmarks.copies import copy_project, wall_seconds
from pipeline.common.layout import Layout
from pipeline.params.tree import Params
from pipeline.runtime.workers import count_cores
from pipeline.study.page import read_tables

NAME = "bench"


def default_grid(params: Params, methods: Sequence[str], seeds: Sequence[int]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return summary.csv and comparisons.csv of `methods` under the parameters as they are, with each of `seeds`."""
    grid = {"methods": list(methods), "vary": [{"subsets.overlap": [params.subsets.overlap]}]}
    settings = {"tracking": {"enabled": False}, "seeds": list(seeds), "study": {"grids": {NAME: grid}}}
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder) / "project"
        copy_project(project, settings)
        for stage in ("prepare", "split", "noise", "subsets"):
            wall_seconds(project, "python", "-m", "pipeline.stages", stage)
        wall_seconds(project, "python", "-m", "pipeline.study", "run", NAME, "--workers", str(count_cores()))
        return read_tables(Layout(project / "artifacts").study(NAME), ["subsets.overlap"])


def difference(comparisons: pd.DataFrame, first: str, second: str) -> tuple[float, float, float]:
    """Return the difference in macro F1 on the test split, first minus second, with its 95 % interval.

    The interval is over test groups and, from five seeds on, over seeds too.
    """
    pair = comparisons.loc[(comparisons["method_a"] == first) & (comparisons["method_b"] == second)]
    row = pair.loc[pair["metric"] == "f1_macro"].iloc[-1]  # what is resampled over seeds, too, comes last
    return float(row["difference"]), float(row["low"]), float(row["high"])
