"""What a search shows: its best trial, the settings it is compared with, and what it cost."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState

from pipeline.common.errors import SettingError, UserError
from pipeline.params.tree import Params
from pipeline.study import found
from pipeline.study.plan import Plan, Unit
from pipeline.study.students import Outcome
from pipeline.study.trials import REASON
from tests.study.made_outcome import made_outcome

PLAN = Plan("mine", (Unit({}),) * 3, (), "f1_macro", {})
BEGUN = datetime(2022, 5, 17, 12)
SPACE = {"distillation.alpha": FloatDistribution(0, 1), "subsets.overlap": CategoricalDistribution((0.2, 0.4))}


@dataclass
class Trials:
    """A search that holds these trials, all of them over."""

    made: list[FrozenTrial]

    def done(self) -> list[FrozenTrial]:
        return self.made


@dataclass(frozen=True)
class Taught:
    """A node of the store, by overlap and seed."""

    key: str
    kind: str = "teachers"


class Store:
    """A store in which what was made at overlap 0.2 took 100 s, long before the study, and at 0.4 took 40 s, in it."""

    def made_at(self, node: Taught) -> float:
        return BEGUN.timestamp() + (-3600 if node.key.startswith("0.2") else 60)

    def seconds(self, node: Taught) -> float:
        return 100.0 if node.key.startswith("0.2") else 40.0


@dataclass
class Students:
    """Students who are right about all but `wrong` of ten images, by run; `diverge`: runs that fail."""

    wrong: dict[str, int] = field(default_factory=lambda: {"baseline_5": 1, "baseline_1": 4})
    diverge: tuple[str, ...] = ()
    asked: list[tuple[float, int]] = field(default_factory=list)

    @property
    def store(self) -> Store:
        return Store()

    def train(self, params: Params, seed: int, run: str) -> Outcome:
        if run in self.diverge:
            raise SettingError(f"{run}: the training loss of epoch 2 is not finite")
        return made_outcome(self.wrong[run] + seed, seconds=10.0 + seed)

    def teachers(self, params: Params, seed: int, run: str) -> list[Taught]:
        self.asked.append((params.subsets.overlap, seed))
        return [Taught(f"{params.subsets.overlap}-{seed}")]

    def answers(self, params: Params, seed: int, run: str) -> list[Taught]:
        return []


def trial(unit: int, value: float | None, overlap: float = 0.4, **more: Any) -> FrozenTrial:
    own = optuna.trial.create_trial(
        state=more.pop("state", TrialState.COMPLETE),
        value=value,
        params={"distillation.alpha": 0.1 * unit, "subsets.overlap": overlap},
        distributions=SPACE,
        user_attrs=more,
    )
    own.number, own.datetime_start = unit, BEGUN
    return own


@pytest.fixture
def params(make_params) -> Params:
    return make_params(seeds=[0, 1])


@pytest.mark.parametrize(("metric", "best"), [("f1_macro", 1), ("loss", 2)])
def test_the_best_trial_has_the_highest_figure_or_the_lowest_loss(metric, best):
    made = Trials([trial(0, 0.5), trial(1, 0.7), trial(2, 0.3), trial(3, 0.9, state=TrialState.PRUNED)])
    assert found.best_trial(made, Plan("mine", (), (), metric, {})).number == best


def test_where_every_trial_failed_the_first_reason_is_given():
    failed = {"state": TrialState.FAIL, REASON: "the loss of epoch 1 is not finite"}
    with pytest.raises(UserError, match="study mine: none of its 2 trials is complete; the first reason: the loss of"):
        found.best_trial(Trials([trial(0, None, **failed), trial(1, None, **failed)]), PLAN)


def test_the_best_trial_is_shown_beside_the_parameters_of_the_file_as_means_over_seeds(params):
    rows = found.contenders(PLAN, params, Students(), trial(2, 0.7))
    assert [row.title for row in rows] == ["best trial (2)", "RoS-KD, params.yaml", "Baseline I, params.yaml"]
    # seed 0 errs once in ten, seed 1 twice: F1 of two classes of five each, computed by hand
    assert rows[0].figures["test/f1_macro"] == pytest.approx(np.mean([(8 / 9 + 10 / 11) / 2, 0.8]))
    assert rows[2].figures["val/f1_macro"] == pytest.approx(np.mean([0.6, (4 / 9 + 6 / 11) / 2]))
    shown = found.comparison(rows, "f1_macro").splitlines()
    assert shown[0].split() == ["val/f1_macro", "val/auroc_macro", "test/f1_macro", "test/auroc_macro"]
    assert shown[1].startswith("best trial (2)")
    assert f"{rows[0].figures['test/f1_macro']:.3f}" in shown[1]


def test_a_reference_that_diverges_is_left_out_with_a_message(params, capsys):
    students = Students(diverge=("baseline_1",))
    rows = found.contenders(PLAN, params, students, trial(2, 0.7))
    assert [row.title for row in rows] == ["best trial (2)", "RoS-KD, params.yaml"]
    assert "study mine: Baseline I, params.yaml is left out: baseline_1: the training loss" in capsys.readouterr().out
    assert found.price(PLAN, params, students, Trials([trial(0, 0.5)]), 100.0, 2) is None


def test_the_price_counts_teachers_once_and_those_of_an_earlier_study_not_at_all(params):
    made = [trial(0, 0.5), trial(1, 0.6), trial(2, 0.1, 0.2), trial(3, 0.1, state=TrialState.PRUNED)]
    failed = trial(4, None, state=TrialState.FAIL)
    students = Students()
    price = found.price(PLAN, params, students, Trials([*made, failed]), wall=130.0, workers=2)
    assert sorted(students.asked) == [(0.2, 0), (0.2, 1), (0.4, 0), (0.4, 1)]
    assert price == found.Price(wall=130.0, teachers=2 * 40, plain=10 + 11, trials=4, workers=2)
    assert price.expected == (80 + 4 * 21) / 2
    assert "and the study took 1.59 times that" in str(price)


def test_trials_are_a_table_with_parameters_and_reasons(tmp_path):
    failed = trial(1, None, state=TrialState.FAIL, **{REASON: "the loss of epoch 1 is not finite"})
    found.write_trials(Trials([trial(0, 0.5), failed]), tmp_path / "trials.csv")
    table = pd.read_csv(tmp_path / "trials.csv")
    assert table["state"].tolist() == ["complete", "fail"]
    assert table["distillation.alpha"].tolist() == [0, 0.1]
    assert table["reason"].isna().tolist() == [True, False]
