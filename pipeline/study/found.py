"""What a search found: its trials as a table, the best setting beside that of params.yaml, and its price."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from optuna.trial import FrozenTrial, TrialState

from pipeline.common.errors import SettingError, UserError
from pipeline.common.files import atomic
from pipeline.distillation.methods import METHODS, PLAIN, SUBJECT
from pipeline.evaluation.metrics import HEADLINES
from pipeline.params.file import with_values
from pipeline.params.tree import Params
from pipeline.study.plan import Plan, Values
from pipeline.study.search import FIGURES, RUN_ID, SECONDS
from pipeline.study.students import Students
from pipeline.study.trials import REASON, Trials

TRIALS = "trials.csv"


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


def best_trial(trials: Trials, plan: Plan) -> FrozenTrial:
    """Return the best complete trial; raises UserError where there is none."""
    done = trials.done()
    complete = [trial for trial in done if trial.state == TrialState.COMPLETE and trial.value is not None]
    if not complete:
        reasons = list(dict.fromkeys(trial.user_attrs[REASON] for trial in done if REASON in trial.user_attrs))
        why = f"; the first reason: {reasons[0]}" if reasons else ""
        raise UserError(f"study {plan.name}: none of its {len(done)} trials is complete{why}")
    sign = -1 if plan.metric == "loss" else 1
    return max(complete, key=lambda trial: sign * (trial.value or 0.0))


def write_trials(trials: Trials, path: Path) -> pd.DataFrame:
    """Write trials.csv, a row for each trial that is over, and return it."""
    rows = [
        {"unit": place, "trial": trial.number, "state": trial.state.name.lower(), "value": trial.value}
        | trial.params
        | trial.user_attrs.get(FIGURES, {})
        | {name: trial.user_attrs.get(name) for name in (SECONDS, RUN_ID, REASON)}
        for place, trial in enumerate(trials.done())
    ]
    table = pd.DataFrame(rows)
    with atomic(path) as temporary:
        table.to_csv(temporary, index=False)
    return table


def contenders(plan: Plan, params: Params, students: Students, best: FrozenTrial) -> list[Contender]:
    """The best trial, the parameters of params.yaml, and Baseline I, each on validation and test.

    A reference whose training fails, as by a diverging loss, is left out with a message.
    """
    tuned = with_values(params, best.params, f"study {plan.name}")
    rows = [Contender(f"best trial ({best.number})", _mean(students, tuned, SUBJECT))]
    for title, method in (("RoS-KD, params.yaml", SUBJECT), ("Baseline I, params.yaml", PLAIN)):
        try:
            rows.append(Contender(title, _mean(students, params, method)))
        except SettingError as error:
            print(f"study {plan.name}: {title} is left out: {error}")
    return rows


def _mean(students: Students, params: Params, name: str) -> dict[str, float]:
    method = METHODS[name]
    found = [students.train(params, seed, method.run).headline(method.checkpoint) for seed in params.seeds]
    return {name: sum(one[name] for one in found) / len(found) for name in found[0]}


def price(plan: Plan, params: Params, students: Students, trials: Trials, wall: float, workers: int) -> Price | None:
    """What the study cost; `wall` seconds by the clock with `workers` at once. None where no plain student trains.

    Teachers that an earlier study has left in the store cost nothing.
    """
    try:
        plain = sum(students.train(params, seed, PLAIN).seconds for seed in params.seeds)
    except SettingError:  # the comparison says so
        return None
    done = [trial for trial in trials.done() if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    begun = min(trial.datetime_start.timestamp() for trial in done if trial.datetime_start)
    store, run = students.store, METHODS[SUBJECT].run
    nodes = {
        (node.kind, node.key): node
        for values in _teacher_values([trial.params for trial in done])
        for seed in params.seeds
        for own in [with_values(params, values, f"study {plan.name}")]
        for node in (*students.teachers(own, seed, run), *students.answers(own, seed, run))
    }
    made = [node for node in nodes.values() if store.made_at(node) >= begun]
    return Price(wall, sum(map(store.seconds, made)), plain, len(done), workers)


def _teacher_values(found: list[dict[str, Any]]) -> list[Values]:
    """The distinct settings of what decides teachers: all but the distillation and the student."""
    own = [
        {name: value for name, value in values.items() if not name.startswith(("distillation", "student", "smoothing"))}
        for values in found
    ]
    return [values for place, values in enumerate(own) if values not in own[:place]]


def comparison(rows: list[Contender], metric: str) -> str:
    """Return the contenders as a plain table; the study's own metric comes first."""
    names = list(dict.fromkeys([metric, *HEADLINES]))
    columns = [f"{split}/{name}" for split in ("val", "test") for name in names]
    width = max(len(row.title) for row in rows)
    head = " " * width + "".join(f"  {column:>15}" for column in columns)
    return "\n".join(
        [head, *(row.title.ljust(width) + "".join(f"  {row.figures[name]:>15.3f}" for name in columns) for row in rows)]
    )
