"""Nodes of features: what decides them, what they hold, and that each is made once."""

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.common.errors import SettingError
from pipeline.data.prepared import Prepared
from pipeline.data.views import Views
from pipeline.params.tree import Params
from pipeline.recipes.features import FEATURES, all_views, features, stored_features
from pipeline.recipes.store import Store
from pipeline.recipes.workshop import Workshop
from pipeline.training.inputs import Features
from tests.models.made_weights import made_weights, tiny

N, SIDE, V = 12, 32, 2


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    return made_weights(tmp_path_factory.mktemp("weights") / "test_resnet.safetensors")


@pytest.fixture
def params_of(make_params, weights):
    """Return a function that gives parameters whose student is a head on stored features."""

    def of(weights: Path = weights, **sections: Any) -> Params:
        head = {"architecture": "timm:test_resnet", "weights": str(weights), "train": "head", "width": 1.0}
        student = head | sections.pop("student", {})
        return make_params(student=student, machine={"device": "cpu"}, **sections)

    return of


@pytest.fixture
def key(params_of):
    """Return a function that gives the key of a view's features; data are known by their digest alone."""

    def of(view: int = 0, digest: str = "d", of_teachers: bool = False, **changes: Any) -> str:
        params, data, store = params_of(**changes), SimpleNamespace(digest=digest), None
        workshop = Workshop(data, store)  # type: ignore[arg-type]
        return features(workshop, params, params.student_network, view, of_teachers=of_teachers).key

    return of


def prepared() -> Prepared:
    images = np.random.default_rng(0).integers(0, 256, (N, SIDE, SIDE, 3), dtype=np.uint8)
    names, labels = np.arange(N).astype(str), np.arange(N) % 2
    split = np.array(["train", "val", "test"])[np.arange(N) % 3]
    return Prepared("multiclass", ("a", "b"), images, names, names, split, labels, labels)


@pytest.fixture
def workshop(tmp_path) -> Workshop:
    given = prepared()
    data: Any = SimpleNamespace(digest="d", prepared=lambda params: given)
    return Workshop(data, Store(tmp_path / "store"))


@pytest.mark.parametrize(
    "changes",
    [
        {"seeds": [1, 2]},
        {"split": {"seed": 5}},
        {"noise": {"rate": 0.1, "seed": 3}},
        {"subsets": {"overlap": 0.0}},
        {"training": {"lr": 0.5, "epochs": 3, "optimiser": "adamw"}},
        {"views": {"count": 5}},
        {"student": {"head": "mlp", "hidden": 7, "dropout": 0.5, "lr_factor": 2.0}},
        {"teachers": {"architectures": ["resnet50"]}},
        {"distillation": {"tau": 1.0}},
    ],
    ids=str,
)
def test_labels_splits_heads_and_trainings_do_not_decide_features(key, changes):
    assert key(**changes) == key()


def test_the_path_of_the_weights_does_not_decide_features_and_their_content_does(key, weights, tmp_path):
    copied = Path(shutil.copy(weights, tmp_path / "elsewhere.safetensors"))
    assert key(weights=copied) == key(weights=weights.parent) == key()
    assert key(weights=made_weights(tmp_path / "others.safetensors", tiny(seed=1))) != key()


def test_data_view_preset_seed_and_network_decide_features(key, tmp_path):
    other = {"architecture": "timm:test_efficientnet"}
    of = [
        key(), key(1), key(V), key(digest="e"), key(of_teachers=True), key(1, of_teachers=True),
        key(views={"seed": 1}), key(views={"preset": "lesion"}), key(student=other),
    ]  # fmt: skip
    assert len(set(of)) == len(of)


def test_the_clean_images_have_no_seed_preset_or_owner(key):
    clean = key(V)
    assert key(V, views={"seed": 1}) == key(V, views={"preset": "lesion"}) == key(V, of_teachers=True) == clean
    assert key(3, views={"count": 3}) == clean
    assert key(V, digest="e") != clean


def test_without_augmentation_every_view_is_the_node_of_the_clean_images(key):
    none = {"preset": "none"}
    assert {key(view, views=none, of_teachers=of) for view in range(V + 1) for of in (True, False)} == {key(V)}


def test_the_nodes_of_all_views_end_with_the_clean_one(workshop, params_of, key):
    params = params_of()
    nodes = all_views(workshop, params, params.student_network)
    assert [node.key for node in nodes] == [key(0), key(1), key(V)]
    of_teachers = all_views(workshop, params, params.student_network, of_teachers=True)
    assert [node.title for node in of_teachers] == [
        "features of timm:test_resnet, view 0 of the teachers",
        "features of timm:test_resnet, view 1 of the teachers",
        "features of timm:test_resnet, clean images",
    ]


@pytest.mark.parametrize("of_teachers", [False, True])
def test_a_node_holds_the_backbones_output_for_every_image_in_its_view(workshop, params_of, of_teachers):
    """Against timm's own network: float16 has a relative precision of 2^-11; clean images are kept as they are."""
    params, images = params_of(), torch.from_numpy(prepared().images).permute(0, 3, 1, 2) / 255
    paths = stored_features(workshop, params, params.student_network, of_teachers=of_teachers)
    assert paths is not None
    backbone, views = tiny(), Views(params.views, N, of_teachers=of_teachers)
    backbone.reset_classifier(0)
    assert len(paths) == V + 1
    for view, path in enumerate(paths):
        found = np.load(path)
        with torch.no_grad():
            expected = backbone((views.apply(images, torch.arange(N), view) - 0.5) / 0.5).numpy()
        assert found.dtype == (np.float32 if view == V else np.float16)
        assert found.shape == (N, 96)
        rounding = 1e-4 if view == V else 2**-10
        np.testing.assert_allclose(found.astype(np.float32), expected, rtol=rounding, atol=1e-5)
    assert len({path.read_bytes() for path in paths}) == V + 1


def test_features_are_made_once_whatever_is_trained_on_them(workshop, params_of, capsys):
    first = stored_features(workshop, params_of(), params_of().student_network)
    assert capsys.readouterr().out.splitlines() == [
        "features: timm:test_resnet, view 0: 96 of each of 12 images",
        "features: timm:test_resnet, view 1: 96 of each of 12 images",
        "features: timm:test_resnet, clean images: 96 of each of 12 images",
    ]
    other = params_of(student={"hidden": 7}, training={"lr": 0.5}, seeds=[3])
    assert stored_features(workshop, other, other.student_network) == first
    assert capsys.readouterr().out == ""


def test_without_augmentation_one_file_serves_all_views(workshop, params_of, capsys):
    params = params_of(views={"preset": "none"})
    paths = stored_features(workshop, params, params.student_network)
    assert paths is not None
    assert len(paths) == V + 1
    assert len(set(paths)) == 1
    assert capsys.readouterr().out == "features: timm:test_resnet, clean images: 96 of each of 12 images\n"


def test_a_network_that_is_trained_whole_has_no_stored_features(workshop, params_of):
    params = params_of(student={"train": "all"})
    assert stored_features(workshop, params, params.student_network) is None


def test_features_that_are_not_finite_are_an_error_of_the_setting_and_leave_nothing(workshop, params_of, tmp_path):
    broken = tiny()
    last = [part for part in broken.modules() if isinstance(part, nn.BatchNorm2d)][-1]
    nn.init.constant_(last.bias, float("inf"))
    params = params_of(made_weights(tmp_path / "broken.safetensors", broken))
    node = features(workshop, params, params.student_network, 0)
    with pytest.raises(SettingError, match=r"not finite in float16; the weights .*broken\.safetensors do not fit"):
        workshop.store.get([node])
    assert not workshop.store.has(node)
    assert not list((tmp_path / "store").rglob(FEATURES))


def test_a_bench_trains_the_head_alone_on_stored_features(workshop, params_of):
    params = params_of(student={"head": "mlp", "hidden": 7, "dropout": 0.5})
    network, bench = params.student_network, workshop.bench(params, 0)
    inputs = bench.inputs(stored_features(workshop, params, network))
    assert isinstance(inputs, Features)
    head = bench.network(network, inputs, "student")
    shapes = {name: tuple(value.shape) for name, value in head.state_dict().items()}
    assert sorted(shapes.values()) == [(2,), (2, 7), (7,), (7, 96)]
    assert [part.p for part in head.modules() if isinstance(part, nn.Dropout)] == [0.5]
    whole = bench.built(network, bench.inputs())
    assert shapes.items() <= {name: tuple(value.shape) for name, value in whole.state_dict().items()}.items()
