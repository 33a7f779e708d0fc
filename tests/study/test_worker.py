"""What a worker does with a trial: what it draws, and whose fault a failure is."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pipeline.common.errors import SettingError, UserError
from pipeline.params.file import read_yaml, validate
from pipeline.params.tree import Params
from pipeline.study.outcome import Outcome
from pipeline.study.plan import make_plan
from pipeline.study.queue import REASON, Queue
from pipeline.study.storage import open_storage
from pipeline.study.worker import Worker
from tests.study.made_outcome import made_outcome

DIGEST = "0" * 64


@dataclass
class Lab:
    """A lab whose students are always right; `failure` is raised while it is there."""

    failure: UserError | None = None
    asked: list[Params] = field(default_factory=list)

    def student(self, params: Params, seed: int, run: str, on_epoch=None) -> Outcome:
        if self.failure is not None:
            raise self.failure
        self.asked.append(params)
        return made_outcome()


@pytest.fixture
def begun(tmp_path, monkeypatch):
    """A search of four trials that has been begun: its parameters, and its queue."""
    tree = read_yaml(Path("params.yaml"))
    monkeypatch.chdir(tmp_path)
    tree["tracking"]["enabled"] = False
    tree["study"] |= {"trials": 4, "space": {"distillation.alpha": {"low": 0, "high": 1}}}
    params = validate(tree, "test")
    queue = Queue(make_plan("mine", params, DIGEST), open_storage(params))
    queue.create()
    return params, queue


def work(params: Params, lab: Lab) -> None:
    Worker(make_plan("mine", params, DIGEST), params, lab).work()


def test_whole_bounds_of_a_fraction_are_searched_in_between(begun):
    params, queue = begun
    lab = Lab()
    work(params, lab)
    drawn = [one.distillation.alpha for one in lab.asked]
    assert drawn[0] == params.distillation.alpha == 0.9
    assert len(set(drawn)) == 4
    assert [trial.params["distillation.alpha"] for trial in queue.trials()] == drawn
    assert all(trial.value == 1 for trial in queue.trials())


def test_a_failure_of_the_machine_ends_the_worker_and_leaves_every_trial(begun):
    params, queue = begun
    with pytest.raises(UserError, match="sees no CUDA device"):
        work(params, Lab(UserError("training.device is cuda, but torch sees no CUDA device")))
    assert queue.left() == 4
    work(params, Lab())
    assert queue.left() == 0
    assert not any(REASON in trial.user_attrs for trial in queue.trials())


def test_a_failure_of_the_setting_is_noted_with_its_reason_and_the_next_is_tried(begun, capsys):
    params, queue = begun
    work(params, Lab(SettingError("the loss became nan")))
    assert queue.left() == 0
    assert [trial.user_attrs[REASON] for trial in queue.trials()] == ["the loss became nan"] * 4
    assert capsys.readouterr().out.count("failed: the loss became nan") == 4
    queue.create(again=True)
    work(params, Lab())
    assert [trial.value for trial in queue.trials()] == [1] * 4
