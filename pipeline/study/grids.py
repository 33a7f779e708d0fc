"""What an ablation grid measured: tables of every cell, method and seed, with intervals and comparisons."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.common.files import atomic
from pipeline.common.layout import Checkpoint
from pipeline.common.seeds import stream
from pipeline.distillation.methods import ROSKD, SHARES, reported_checkpoint
from pipeline.evaluation.bootstrap import draw_kinds
from pipeline.evaluation.comparisons import COMPARISON_COLUMNS, bootstrap_interval, compare
from pipeline.evaluation.predictions import CHECKPOINTS, Row, figures_of, resampled
from pipeline.params.file import with_values
from pipeline.params.tree import Params, flatten
from pipeline.study.lab import Lab
from pipeline.study.outcome import Outcome
from pipeline.study.plan import Plan, Values, run_of, shown

RESULTS, SUMMARY, COMPARISONS = "results.csv", "summary.csv", "comparisons.csv"
GRID_SHARES = (*SHARES, ("stochastic_full", "baseline_3"))
"""What each ingredient gives by itself, with the pair that grids alone have; first minus second."""


@dataclass(frozen=True)
class Cell:
    """One combination of values: the students of each method by seed, all on one test split."""

    values: Values
    students: dict[str, dict[int, Outcome]]

    @property
    def labels(self) -> Row:
        """The values as cells of a table."""
        return {name: shown(value) for name, value in self.values.items()}


def write_tables(cells: Iterable[Cell], params: Params, folder: Path) -> None:
    """Write results.csv, summary.csv and comparisons.csv into `folder`."""
    results: list[Row] = []
    summary: list[Row] = []
    comparisons: list[Row] = []
    factors: list[str] = []
    for cell in cells:
        factors = list(dict.fromkeys([*factors, *cell.labels]))
        results += [cell.labels | row for row in _results(cell)]
        more, pairs = _statistics(cell, params)
        summary += [cell.labels | row for row in more]
        comparisons += [cell.labels | row for row in pairs]
    tables = {
        RESULTS: pd.DataFrame(results),
        SUMMARY: pd.DataFrame(summary),
        COMPARISONS: pd.DataFrame(comparisons, columns=[*factors, *COMPARISON_COLUMNS]),
    }
    for name, table in tables.items():
        with atomic(folder / name) as temporary:
            table.to_csv(temporary, index=False)


def cells_of(plan: Plan, wanted: Iterable[Values], params: Params, lab: Lab) -> Iterator[Cell]:
    """Yield the cells of `wanted` values, which are finished; every student comes from the store."""
    for values in wanted:
        own = with_values(params, values, f"study {plan.name}")
        students = {run: {seed: lab.student(own, seed, run) for seed in params.seeds} for run in plan.runs}
        known = flatten(own)  # a block may leave to params.yaml what another varies
        yield Cell(
            {name: known[name] for name in plan.factors}, {method: students[run_of(method)] for method in plan.methods}
        )


def _results(cell: Cell) -> Iterator[Row]:
    """Every figure of every student, as in metrics/students.csv."""
    for method, by_seed in cell.students.items():
        for seed, outcome in by_seed.items():
            for checkpoint in CHECKPOINTS[-1:] if method == ROSKD else CHECKPOINTS:
                labels = {"seed": seed, "method": method, "checkpoint": checkpoint}
                yield from (labels | row for row in figures_of(outcome.prepared, outcome.logits[checkpoint]))


def _statistics(cell: Cell, params: Params) -> tuple[list[Row], list[Row]]:
    """Each checkpoint's test figures with intervals; RoS-KD against every other method, and the ingredients' shares."""
    prepared = next(iter(next(iter(cell.students.values())).values())).prepared
    groups = prepared.groups[prepared.rows("test")]
    kinds = draw_kinds(groups, len(params.seeds), stream(params.split.seed, "bootstrap", 0))
    figures = {
        (method, checkpoint): resampled(prepared, [one.logits[checkpoint] for one in by_seed.values()], kinds[0])
        for method, by_seed in cell.students.items()
        for checkpoint in _summarised(method)
    }
    summary: list[Row] = [
        {"method": method, "checkpoint": checkpoint, "metric": metric}
        | asdict(bootstrap_interval(values, kinds[0]))
        | {"sd": float(np.std(values[0], ddof=1)) if len(params.seeds) > 1 else np.nan}
        for (method, checkpoint), found in figures.items()
        for metric, values in found.items()
    ]
    main = {method: figures[method, reported_checkpoint(method)] for method in cell.students}
    families = (
        [(ROSKD, method) for method in main if method != ROSKD and ROSKD in main],
        [(first, second) for first, second in GRID_SHARES if first in main and second in main],
    )
    return summary, [row for draws in kinds for pairs in families for row in compare(main, pairs, draws)]


def _summarised(method: str) -> tuple[Checkpoint, ...]:
    return ("smoothed",) if method == ROSKD else ("last", "smoothed")
