"""Grids in which each method chooses some parameters for itself, by the mean of validation over the seeds."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pipeline.common.files import atomic
from pipeline.distillation.methods import METHODS
from pipeline.evaluation.predictions import Row
from pipeline.params.tree import Params, flatten
from pipeline.study.plan import Plan, Values, shown
from pipeline.study.students import Outcome, Students
from pipeline.study.tables import Cell, settled

PICKS = "picks.csv"


@dataclass(frozen=True)
class Candidate:
    """One setting of one method: what it varies, its mean on validation (nan: not defined), its students by seed."""

    picked: Values
    value: float
    students: dict[int, Outcome]


def best(candidates: Iterable[Candidate], metric: str) -> Candidate:
    """Return the candidate of the highest value, for `loss` the lowest; the first of equals, undefined ones last."""
    sign = -1 if metric == "loss" else 1
    return max(candidates, key=lambda one: (one.value == one.value, sign * one.value))


def picked_cells(
    plan: Plan, wanted: Iterable[Values], params: Params, students: Students
) -> tuple[list[Cell], list[Row]]:
    """Return a cell for each combination of what is not picked, and a row for each candidate.

    `wanted`: the values of the cells that are finished; a candidate whose training failed is not among them.
    """
    cells: list[Cell] = []
    rows: list[Row] = []
    for values, settings in _groups(plan, wanted, params):
        candidates = {
            name: [_candidate(plan, name, own, params, students) for own in settings] for name in plan.methods
        }
        chosen = {name: best(found, plan.metric) for name, found in candidates.items()}
        cell = Cell(values, {name: one.students for name, one in chosen.items()})
        cells.append(cell)
        rows += [
            cell.labels
            | {"method": name}
            | {parameter: shown(value) for parameter, value in one.picked.items()}
            | {f"val/{plan.metric}": one.value, "chosen": one is chosen[name]}
            for name, found in candidates.items()
            for one in found
        ]
    return cells, rows


def write_picks(rows: list[Row], path: Path) -> None:
    """Write picks.csv: every candidate of every method, and which of them it chose."""
    with atomic(path) as temporary:
        pd.DataFrame(rows).to_csv(temporary, index=False)


def _groups(plan: Plan, wanted: Iterable[Values], params: Params) -> list[tuple[Values, list[Params]]]:
    """The cells' values without what is picked, each with the parameters of its candidates."""
    groups: list[tuple[Values, list[Params]]] = []
    for values in wanted:
        own = settled(plan, values, params)
        known = flatten(own)
        fixed = {name: known[name] for name in plan.factors}
        settings = next((settings for other, settings in groups if other == fixed), None)
        if settings is None:
            groups.append((fixed, [own]))
        elif own not in settings:
            settings.append(own)
    return groups


def _candidate(plan: Plan, method: str, own: Params, params: Params, students: Students) -> Candidate:
    run, checkpoint = METHODS[method].run, METHODS[method].checkpoint
    found = {seed: students.train(own, seed, run) for seed in params.seeds}
    values = [outcome.headline(checkpoint)[f"val/{plan.metric}"] for outcome in found.values()]
    known = flatten(own)
    return Candidate({name: known[name] for name in plan.picked}, sum(values) / len(values), found)
