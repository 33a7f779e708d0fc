"""What decides a student."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.recipes.bench import Bench
from pipeline.recipes.student import student
from pipeline.recipes.workshop import Workshop
from pipeline.training.world import World


@pytest.fixture
def key(make_params):
    """Return a function that gives the key of a run's student under other parameters."""
    given = np.array([0, 1, 0, 1])
    published = np.array([0, 1, 1, 1])
    prepared = SimpleNamespace(
        rows=lambda split: np.arange(4), given=given, published=published, targets=lambda split: given
    )
    data: Any = SimpleNamespace(digest="d", prepared=lambda params: prepared, members=lambda params: {})
    store: Any = None

    def of(run: str, **sections: Any) -> str:
        return student(Workshop(data, store), make_params(**sections), 0, run, []).key

    return of


OWN = {
    "label_smoothing": "label_smoothing", "gce_q": "gce", "sce_alpha": "sce", "sce_beta": "sce", "elr_beta": "elr",
    "elr_lambda": "elr", "co_teaching_rate": "co_teaching", "co_teaching_ramp": "co_teaching",
}  # fmt: skip


@pytest.mark.parametrize("parameter", OWN)
def test_a_rivals_parameter_decides_its_own_student_alone(key, parameter):
    changed = {run for run in ("baseline_1", *OWN.values()) if key(run) != key(run, rivals={parameter: 0.5})}
    assert changed == {OWN[parameter]}


def test_rivals_differ_from_the_plain_student_and_from_each_other(key):
    runs = {"baseline_1", *OWN.values()}
    assert len({key(run) for run in runs}) == len(runs)


def test_the_yardstick_is_the_plain_student_on_published_labels(key, tmp_path, make_params):
    """Its node differs by the labels alone, and so do the labels that it learns."""
    assert key("baseline_1_published") != key("baseline_1")
    published, given = np.array([0, 1, 1, 1]), np.array([0, 1, 0, 1])
    prepared: Any = SimpleNamespace(
        rows=lambda split: np.arange(4), given=given, published=published, images=np.zeros((4, 2, 2, 3), np.uint8),
        sample_ids=np.arange(4).astype(str),
    )  # fmt: skip
    bench = Bench(make_params(), 0, prepared, prepared.images, torch.device("cpu"), World(torch.device("cpu")))
    assert bench.training_set(bench.inputs(), published=True).targets.tolist() == [0, 1, 1, 1]
    assert bench.training_set(bench.inputs()).targets.tolist() == [0, 1, 0, 1]
