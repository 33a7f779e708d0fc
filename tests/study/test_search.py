"""What a worker of a search does with a trial: what it draws, and whose fault a failure is."""

import pytest

from pipeline import tracking
from pipeline.common.errors import SettingError, UserError
from pipeline.common.layout import Layout
from pipeline.params.tree import Params
from pipeline.study.plan import make_plan
from pipeline.study.search import Searcher
from pipeline.study.trials import REASON, Trials, open_storage
from tests.study.made_outcome import Students

DIGEST = "0" * 64


@pytest.fixture
def begun(tmp_path, make_params):
    """A search of four trials that has been begun: its parameters, and its trials."""
    space = {"distillation.alpha": {"low": 0, "high": 1}}
    params = make_params(tracking={"enabled": False}, study={"trials": 4, "space": space})
    trials = Trials(make_plan("mine", params, DIGEST), open_storage(params, Layout(tmp_path)))
    trials.create()
    return params, trials


def work(params: Params, trials: Trials, students: Students) -> None:
    plan = make_plan("mine", params, DIGEST)
    Searcher(plan, params, students, trials, tracking.StudyRun(None, "mine")).work()  # type: ignore[arg-type]


def test_whole_bounds_of_a_fraction_are_searched_in_between(begun):
    params, trials = begun
    students = Students()
    work(params, trials, students)
    drawn = [one.distillation.alpha for one in students.asked]
    assert drawn[0] == params.distillation.alpha == 0.9
    assert len(set(drawn)) == 4
    assert [trial.params["distillation.alpha"] for trial in trials.done()] == drawn
    assert all(trial.value == 1 for trial in trials.done())


def test_a_second_search_with_the_same_seed_draws_the_same(begun, tmp_path):
    params, trials = begun
    first, second = Students(), Students()
    work(params, trials, first)
    other = Trials(make_plan("mine", params, DIGEST), open_storage(params, Layout(tmp_path / "elsewhere")))
    other.create()
    work(params, other, second)
    assert [one.distillation for one in first.asked] == [one.distillation for one in second.asked]


@pytest.mark.parametrize("failure", [UserError("torch sees no CUDA device"), KeyboardInterrupt()])
def test_a_failure_of_the_machine_ends_the_worker_and_leaves_every_trial(begun, failure):
    params, trials = begun
    with pytest.raises(type(failure)):
        work(params, trials, Students(failure))
    assert trials.left() == 4
    work(params, trials, Students())
    assert trials.left() == 0
    assert trials.done()[0].params == {"distillation.alpha": 0.9}
    assert not any(REASON in trial.user_attrs for trial in trials.done())


def test_a_failure_of_the_setting_is_noted_with_its_reason_and_the_next_is_tried(begun, capsys):
    params, trials = begun
    work(params, trials, Students(SettingError("the loss became nan")))
    assert trials.left() == 0
    assert [trial.user_attrs[REASON] for trial in trials.done()] == ["the loss became nan"] * 4
    assert capsys.readouterr().out.count("failed: the loss became nan") == 4
    trials.repeat_failed()
    work(params, trials, Students())
    assert [trial.value for trial in trials.done()] == [1] * 4
