"""What decides a student, and the margins that the plain one leaves."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.data.prepared import Prepared
from pipeline.distillation.margins import label_margins
from pipeline.distillation.methods import METHODS, runs_of
from pipeline.params.tree import Params
from pipeline.recipes.bench import Bench
from pipeline.recipes.features import stored_features
from pipeline.recipes.store import Node, Store
from pipeline.recipes.student import MARGINS, student
from pipeline.recipes.workshop import Workshop
from pipeline.training.world import World
from tests.models.made_weights import made_weights


@pytest.fixture
def node(make_params):
    """Return a function that gives a run's node under other parameters."""
    given = np.array([0, 1, 0, 1])
    published = np.array([0, 1, 1, 1])
    prepared = SimpleNamespace(
        rows=lambda split: np.arange(4), given=given, published=published, targets=lambda split: given
    )
    data: Any = SimpleNamespace(digest="d", prepared=lambda params: prepared, members=lambda params: {})
    store: Any = None

    def of(run: str, *, weights: bool = True, **sections: Any) -> Node:
        return student(Workshop(data, store), make_params(**sections), 0, run, [], weights=weights)

    return of


@pytest.fixture
def key(node):
    """Return a function that gives the key of a run's student under other parameters."""
    return lambda run, **sections: node(run, **sections).key


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


@pytest.mark.parametrize("weights", [True, False])
def test_the_plain_student_alone_leaves_margins(node, weights):
    runs = [run for run in runs_of(METHODS) if METHODS[run].probe is None]
    assert [run for run in runs if MARGINS in node(run, weights=weights).files] == ["baseline_1"]
    assert "last.safetensors" in node("baseline_1").files
    assert "last.safetensors" not in node("baseline_1", weights=False).files


N = 12
"""Training samples; as many again are validation, and test."""


@pytest.fixture
def of_heads(make_params, tmp_path):
    """Return a function that gives parameters of heads on stored features, whose epochs take no time."""
    weights = made_weights(tmp_path / "test_resnet.safetensors")

    def of(**training: Any) -> Params:
        head = {"architecture": "timm:test_resnet", "weights": str(weights), "train": "head", "width": 1.0}
        own = {"batch_size": 4, "precision": "float32"} | training
        return make_params(student=head, training=own, views={"preset": "none"}, machine={"device": "cpu"})

    return of


def workshop(folder: Path) -> Workshop:
    """Images of two classes, of which some have a wrong label."""
    drawn = np.random.default_rng(0)
    published = np.arange(3 * N) % 2
    images = drawn.integers(0, 256, (3 * N, 32, 32, 3), dtype=np.uint8) // 2 + 100 * published[:, None, None, None]
    given = np.where(np.arange(3 * N) % 5 == 0, 1 - published, published)
    names, split = np.arange(3 * N).astype(str), np.tile(["val", "train", "test"], N)
    prepared = Prepared("multiclass", ("a", "b"), images.astype(np.uint8), names, names, split, given, published)
    data: Any = SimpleNamespace(digest="d", prepared=lambda params: prepared, members=lambda params: {})
    return Workshop(data, Store(folder))


def margins(shop: Workshop, params: Params, on_epoch: Any = lambda epoch, metrics: None) -> dict[str, np.ndarray]:
    plain = student(shop, params, 0, "baseline_1", [])
    shop.store.get([plain], on_epoch)
    with np.load(shop.store.file(plain, MARGINS)) as arrays:
        return dict(arrays)


def test_the_margins_of_one_step_are_those_of_the_first_weights(of_heads, tmp_path):
    """One batch and one epoch, so that no weight has changed; in the order of the training rows, by given labels."""
    params, shop = of_heads(batch_size=N, epochs=1), workshop(tmp_path / "store")
    found = margins(shop, params)
    bench, network = shop.bench(params, 0), params.student_network
    inputs = bench.inputs(stored_features(shop, params, network))
    rows, head = bench.prepared.rows("train"), bench.network(network, inputs, "student")
    (block,) = inputs.read([rows], [0])
    expected = label_margins(head(block).detach(), torch.from_numpy(bench.prepared.given[rows]), "multiclass")
    assert found["aum"] == pytest.approx(expected.numpy(), abs=1e-5)
    assert found["disagreed"].tolist() == (expected < 0).float().tolist()
    assert len({*found["disagreed"].tolist()}) == 2
    assert (bench.prepared.given != bench.prepared.published)[rows].any()


def test_a_killed_student_ends_with_the_margins_of_an_unbroken_one(of_heads, tmp_path):
    class KilledError(Exception):
        pass

    def kill(epoch: int, metrics: dict[str, float]) -> None:
        if epoch == 2:
            raise KilledError

    params = of_heads(epochs=5)
    expected = margins(workshop(tmp_path / "unbroken"), params)
    broken = workshop(tmp_path / "broken")
    with pytest.raises(KilledError):
        margins(broken, params, kill)
    (resume,) = (tmp_path / "broken").rglob("resume.pt")
    epochs: list[int] = []
    found = margins(broken, params, lambda epoch, metrics: epochs.append(epoch))
    assert epochs[0] in (2, 3)
    assert {name: values.tolist() for name, values in found.items()} == {
        name: values.tolist() for name, values in expected.items()
    }
    assert not resume.exists()


def test_the_weights_are_those_of_a_student_that_nobody_watches(of_heads, tmp_path, monkeypatch):
    found = []
    for name, watched in (("watched", "baseline_1"), ("unwatched", "nothing")):
        monkeypatch.setattr("pipeline.recipes.student.PLAIN", watched)
        shop = workshop(tmp_path / name)
        plain = student(shop, of_heads(epochs=3), 0, "baseline_1", [])
        shop.store.get([plain])
        found.append(shop.store.file(plain, "last.safetensors").read_bytes())
        assert (MARGINS in plain.files) == (name == "watched")
    assert found[0] == found[1]
