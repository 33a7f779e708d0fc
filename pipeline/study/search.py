"""What a search found: its trials as a table, the best parameters beside those of params.yaml, and its price."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from optuna.trial import FrozenTrial, TrialState

from pipeline.common.errors import SettingError, UserError
from pipeline.common.files import atomic
from pipeline.common.layout import Checkpoint
from pipeline.distillation.methods import ROSKD, ROSKD_RUN, reported_checkpoint
from pipeline.params.file import with_values
from pipeline.params.tree import Params
from pipeline.recipes.store import MADE_FROM
from pipeline.study.headline import headline
from pipeline.study.lab import Lab
from pipeline.study.outcome import seconds_of
from pipeline.study.plan import Plan, Values
from pipeline.study.queue import REASON, UNIT, Queue
from pipeline.study.worker import FIGURES, RUN_ID, SECONDS

TRIALS = "trials.csv"
PLAIN = "baseline_1"
"""The plain student, on the given labels alone."""


@dataclass(frozen=True)
class Contender:
    """One row of the comparison: a setting, and its figures as means over seeds."""

    title: str
    figures: Mapping[str, float]


@dataclass(frozen=True)
class Price:
    """Seconds: the whole study by the clock, what was made once for all trials, and a plain student for each seed."""

    wall: float
    teachers: float
    plain: float
    trials: int
    workers: int

    @property
    def expected(self) -> float:
        """Teachers, soft labels and a plain student per trial, shared evenly by the workers."""
        return (self.teachers + self.trials * self.plain) / self.workers

    def __str__(self) -> str:
        return (
            f"time: {self.wall:.0f} s with {self.workers} worker{'s' * (self.workers > 1)}. Teachers and soft labels, "
            f"made once for all trials: {self.teachers:.0f} s; a plain student (all seeds): {self.plain:.1f} s; so "
            f"{self.trials} trials at the price of plain students are {self.expected:.0f} s, and the study took "
            f"{self.wall / self.expected:.2f} times that"
        )


@dataclass(frozen=True)
class Found:
    """What a finished search shows: its best trial, the settings compared, and the price where it is known."""

    best: FrozenTrial
    rows: list[Contender]
    price: Price | None


CAPTIONS = {
    "history": "The objective of each trial, and the best so far.",
    "slice": "Each trial's objective over each parameter; darker trials came later.",
    "importance": "How much of the objective's variance each parameter explains (fANOVA).",
    "contour": "The objective over the two most important parameters.",
    "learning": "Validation by epoch of each trial; a line that ends early was pruned. Seeds follow one another.",
}
"""What Optuna's pictures show."""


def best_trial(queue: Queue, plan: Plan) -> FrozenTrial:
    """Return the best complete trial; raises UserError where there is none."""
    trials = queue.trials()
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE and trial.value is not None]
    if not complete:
        reasons = list(dict.fromkeys(trial.user_attrs[REASON] for trial in trials if REASON in trial.user_attrs))
        why = f"; the first reason: {reasons[0]}" if reasons else ""
        raise UserError(f"study {plan.name}: none of its {len(trials)} trials is complete{why}")
    sign = -1 if plan.metric == "loss" else 1
    return max(complete, key=lambda trial: sign * (trial.value or 0.0))


def write_trials(queue: Queue, path: Path) -> pd.DataFrame:
    """Write trials.csv, a row for each unit begun, and return it."""
    rows = [
        {"unit": trial.user_attrs[UNIT], "trial": trial.number, "state": trial.state.name.lower(), "value": trial.value}
        | trial.params
        | trial.user_attrs.get(FIGURES, {})
        | {name: trial.user_attrs.get(name) for name in (SECONDS, RUN_ID, REASON)}
        for trial in queue.trials()
    ]
    table = pd.DataFrame(rows)
    with atomic(path) as temporary:
        table.to_csv(temporary, index=False)
    return table


def contenders(plan: Plan, params: Params, lab: Lab, best: FrozenTrial) -> list[Contender]:
    """The best trial, the parameters of params.yaml, and Baseline I, each on validation and test.

    A reference whose training fails, as by a diverging loss, is left out and told.
    """
    tuned = with_values(params, best.params, f"study {plan.name}")
    rows = [Contender(f"best trial ({best.number})", _mean(lab, tuned, ROSKD_RUN, "smoothed"))]
    references = [("RoS-KD, params.yaml", ROSKD_RUN, ROSKD), ("Baseline I, params.yaml", PLAIN, PLAIN)]
    for title, run, method in references:
        try:
            rows.append(Contender(title, _mean(lab, params, run, reported_checkpoint(method))))
        except SettingError as error:
            print(f"study {plan.name}: {title} is left out: {error}")
    return rows


def _mean(lab: Lab, params: Params, run: str, checkpoint: Checkpoint) -> dict[str, float]:
    found = [headline(lab.student(params, seed, run), checkpoint) for seed in params.seeds]
    return {name: sum(one[name] for one in found) / len(found) for name in found[0]}


def price(plan: Plan, params: Params, lab: Lab, queue: Queue, wall: float, workers: int) -> Price | None:
    """What the study cost; `wall` seconds by the clock with `workers` at once. None where no plain student trains.

    Teachers that an earlier study has left in the store cost nothing.
    """
    try:
        plain = sum(lab.student(params, seed, PLAIN).seconds for seed in params.seeds)
    except SettingError:  # the comparison tells it
        return None
    done = [trial for trial in queue.trials() if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    begun = min(trial.datetime_start.timestamp() for trial in done if trial.datetime_start)
    folders = {
        folder
        for values in _teacher_values([trial.params for trial in done])
        for seed in params.seeds
        for folder in lab.teachers(with_values(params, values, f"study {plan.name}"), seed, ROSKD_RUN)
    }
    teachers = sum(seconds_of(folder) for folder in folders if (folder / MADE_FROM).stat().st_mtime >= begun)
    return Price(wall, teachers, plain, len(done), workers)


def _teacher_values(found: list[dict[str, Any]]) -> list[Values]:
    """The distinct settings of what decides teachers: all but the distillation and the student."""
    own = [
        {name: value for name, value in values.items() if not name.startswith(("distillation", "student", "smoothing"))}
        for values in found
    ]
    return [values for place, values in enumerate(own) if values not in own[:place]]


def comparison(rows: list[Contender], metric: str) -> str:
    """Return the contenders as a plain table; the study's own metric stands first."""
    names = list(dict.fromkeys([metric, "f1_macro", "auroc_macro"]))
    columns = [f"{split}/{name}" for split in ("val", "test") for name in names]
    width = max(len(row.title) for row in rows)
    head = " " * width + "".join(f"  {column:>15}" for column in columns)
    return "\n".join(
        [head, *(row.title.ljust(width) + "".join(f"  {row.figures[name]:>15.3f}" for name in columns) for row in rows)]
    )
