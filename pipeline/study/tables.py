"""What an ablation grid measured: tables of every cell, method and seed, with intervals and comparisons."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pipeline.common.files import atomic
from pipeline.common.layout import Checkpoint
from pipeline.distillation.methods import METHODS, checkpoints_of
from pipeline.evaluation.comparisons import COMPARISON_COLUMNS
from pipeline.evaluation.families import statistics
from pipeline.evaluation.predictions import Logits, Row, figures_of
from pipeline.params.file import with_values
from pipeline.params.tree import Params, flatten
from pipeline.study.plan import Plan, Values, shown
from pipeline.study.students import Outcome, Students

RESULTS, SUMMARY, COMPARISONS = "results.csv", "summary.csv", "comparisons.csv"


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


def cells_of(plan: Plan, wanted: Iterable[Values], params: Params, students: Students) -> Iterator[Cell]:
    """Yield the cells of `wanted` values, which are finished; every student comes from the store."""
    for values in wanted:
        own = settled(plan, values, params)
        found = {run: {seed: students.train(own, seed, run) for seed in params.seeds} for run in plan.runs}
        known = flatten(own)  # a block may leave to params.yaml what another varies
        yield Cell(
            {name: known[name] for name in plan.factors}, {name: found[METHODS[name].run] for name in plan.methods}
        )


def settled(plan: Plan, values: Values, params: Params) -> Params:
    """Return the parameters of a cell."""
    return with_values(params, values, f"study {plan.name}")


def _results(cell: Cell) -> Iterator[Row]:
    """Every figure of every student, as in metrics/students.csv."""
    for method, by_seed in cell.students.items():
        for seed, outcome in by_seed.items():
            for checkpoint in checkpoints_of(method):
                labels = {"seed": seed, "method": method, "checkpoint": checkpoint}
                yield from (labels | row for row in figures_of(outcome.prepared, outcome.logits[checkpoint]))


def _statistics(cell: Cell, params: Params) -> tuple[list[Row], list[Row]]:
    """The test figures of each method's last and smoothed weights, and its own, with intervals; the comparisons."""
    prepared = next(iter(next(iter(cell.students.values())).values())).prepared
    answers: dict[tuple[str, Checkpoint], list[Logits]] = {
        (method, checkpoint): [by_seed[seed].logits[checkpoint] for seed in params.seeds]
        for method, by_seed in cell.students.items()
        for checkpoint in checkpoints_of(method)
        if checkpoint != "selected" or METHODS[method].checkpoint == "selected"
    }
    return statistics(prepared, answers, prepared.groups[prepared.rows("test")], params.split.seed)
