"""The recipe of a loss landscape: what its files hold, what decides it, and how a killed one ends."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F

from models.classifier import save_weights
from models.heads import HeadAlone, head_layers
from models.networks import build
from pipeline.common.errors import SettingError
from pipeline.common.layout import Layout
from pipeline.data.prepared import Prepared
from pipeline.evaluation import hessian
from pipeline.evaluation import landscape as around
from pipeline.params.tree import Params
from pipeline.recipes import landscape as recipe
from pipeline.recipes.landscape import SHARPNESS, SLICES, SURFACE, landscape
from pipeline.recipes.store import Node, Store
from pipeline.recipes.workshop import Workshop
from pipeline.stages import landscape as stage
from tests.models.made_weights import made_weights, tiny

N, C, SIDE = 60, 3, 32
OF_SPLIT = np.array(["train", "val", "test"])[np.arange(N) % 3]
FILES = (SURFACE, SLICES, SHARPNESS)
SMALL = {"images": 6, "grid": 3, "radius": 0.4, "hessian": {"iterations": 4, "tolerance": 0.2, "draws": 2}}
METHODS = {"roskd": ("subset", "baseline_5", "smoothed"), "baseline_3": ("full", "baseline_3", "last")}


def prepared(task: str = "multiclass") -> Prepared:
    """Images whose published labels differ from the given ones."""
    drawn = np.random.default_rng(0)
    images = drawn.integers(0, 256, (N, SIDE, SIDE, 3), dtype=np.uint8)
    labels = drawn.integers(0, C, N) if task == "multiclass" else drawn.integers(0, 2, (N, C)).astype(np.float32)
    names, given = np.arange(N).astype(str), C - 1 - labels if task == "multiclass" else 1 - labels
    return Prepared(task, ("a", "b", "c"), images, names, names, OF_SPLIT, given, labels)  # type: ignore[arg-type]


class Project:
    """A store, prepared data, and students whose weights are random."""

    def __init__(self, folder: Path, params: Params) -> None:
        self.folder, self.params, self.layout = folder, params, Layout(folder / "artifacts")
        self.prepared = prepared(params.task)
        data: Any = SimpleNamespace(digest="d", prepared=lambda params: self.prepared)
        self.workshop = Workshop(data, Store(self.layout.store))

    def write_student(self, method: str = "roskd", seed: int = 0, factor: float = 1.0) -> torch.nn.Module:
        """Write a student's weights; `factor` times its last layer."""
        torch.manual_seed(seed)
        network = self.params.student_network
        whole = network.train == "all"
        student = (
            build(network.architecture, num_classes=C, **network.layers)
            if whole
            else HeadAlone(head_layers(tiny().num_features, C, kind="mlp", hidden=5))
        )
        with torch.no_grad():
            list(student.parameters())[-1].mul_(factor)
        path = self.layout.student_weights(0, *METHODS[method])  # type: ignore[arg-type]
        path.parent.mkdir(parents=True, exist_ok=True)
        save_weights(student.state_dict(), path)
        return student.eval()

    def node(self, method: str = "roskd", **changes: Any) -> Node:
        changed = self.params.model_copy(update={"landscape": self.params.landscape.model_copy(update=changes)})
        return landscape(self.workshop, changed, self.layout, 0, method)

    def make(self, method: str = "roskd", **changes: Any) -> Path:
        """The finished folder."""
        node = self.node(method, **changes)
        self.workshop.store.get([node])
        return self.workshop.store.path(node)


@pytest.fixture
def params_of(make_params) -> Callable[..., Params]:
    def of(**sections: Any) -> Params:
        own = {"data": {"image_size": SIDE}, "student": {"width": 0.125}, "machine": {"device": "cpu"}}
        return make_params(landscape=SMALL, **(own | sections))

    return of


@pytest.fixture
def project(tmp_path, params_of) -> Project:
    return Project(tmp_path, params_of())


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES}


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_the_centre_is_the_students_loss_on_published_test_labels(tmp_path, params_of, task):
    noise = {"noise": {"kind": "flip"}} if task == "multilabel" else {}
    project = Project(tmp_path, params_of(task=task, **noise))
    student = project.write_student()
    folder = project.make(images=20)
    surface, sharpness = pd.read_csv(folder / SURFACE), json.loads((folder / SHARPNESS).read_text())
    test = project.prepared.rows("test")
    assert len(test) == 20
    pixels = torch.from_numpy(project.prepared.images[test]).permute(0, 3, 1, 2) / 255
    targets = torch.from_numpy(project.prepared.published[test])
    criterion = F.cross_entropy if task == "multiclass" else F.binary_cross_entropy_with_logits
    with torch.no_grad():
        expected = criterion(student(pixels), targets).item()
    assert sharpness["loss"] == pytest.approx(expected, rel=1e-5)
    assert surface["loss"][4] == pytest.approx(expected, rel=1e-5)


def test_the_files_hold_grid_slices_and_sharpness(project):
    student = project.write_student()
    folder = project.make()
    surface, slices = pd.read_csv(folder / SURFACE), pd.read_csv(folder / SLICES)
    assert surface["step_1"].tolist() == pytest.approx(np.repeat([-0.4, 0.0, 0.4], 3))
    assert surface["step_2"].tolist() == pytest.approx(np.tile([-0.4, 0.0, 0.4], 3))
    assert slices["direction"].tolist() == [1] * 9 + [2] * 9
    assert slices["step"].tolist() == pytest.approx(np.tile(np.linspace(-0.4, 0.4, 9), 2))
    along = [slices.loc[slices["direction"] == one, "loss"].to_numpy()[[0, 4, 8]] for one in (1, 2)]
    grid = surface["loss"].to_numpy().reshape(3, 3)
    assert along[0] == pytest.approx(grid[:, 1], rel=1e-6)
    assert along[1] == pytest.approx(grid[1], rel=1e-6)
    assert (grid > 0).all()
    found = json.loads((folder / SHARPNESS).read_text())
    assert [*found] == ["weights", "parameters", "images", "loss", "clamped", "top_eigenvalue", "trace"]
    assert found["parameters"] == sum(weight.numel() for weight in student.parameters())
    assert (found["weights"], found["images"], found["trace"]["draws"]) == ("all", 6, 2)
    assert found["clamped"] == (grid == 8.0).sum()
    top = found["top_eigenvalue"]
    assert top["converged"] == (top["residual"] <= 0.2 * abs(top["value"]))
    assert 1 <= top["iterations"] <= 8
    assert top["standard_error"] > 0
    assert found["trace"]["standard_error"] > 0


def test_equal_students_have_equal_landscapes_and_another_seed_other_directions(project):
    for method in METHODS:
        project.write_student(method)
    one = contents(project.make("roskd"))
    shutil.rmtree(project.layout.store)
    assert contents(project.make("baseline_3")) == one
    other = contents(project.make(seed=1))
    assert all(other[name] != one[name] for name in FILES)


def test_what_decides_a_landscape_is_in_its_key(project):
    project.write_student()
    key = project.node().key
    assert project.node(methods=("roskd", "baseline_1")).key == key
    for name, value in {"images": 7, "grid": 5, "radius": 0.3, "clamp": 7.0, "seed": 1}.items():
        assert project.node(**{name: value}).key != key, name
    project.write_student(factor=1.5)
    assert project.node().key != key


def test_high_losses_are_clamped_and_counted(project):
    project.write_student()
    lowest = json.loads((project.make() / SHARPNESS).read_text())["loss"]
    folder = project.make(clamp=lowest / 2)
    assert pd.read_csv(folder / SURFACE)["loss"].tolist() == [pytest.approx(lowest / 2)] * 9
    found = json.loads((folder / SHARPNESS).read_text())
    assert (found["clamped"], found["loss"]) == (9, lowest)


@pytest.mark.parametrize("after", [2, 4, 6, 7])
def test_a_killed_landscape_goes_on_where_it_was_and_ends_with_the_same_bytes(project, monkeypatch, after):
    project.write_student()
    unbroken = contents(project.make())
    shutil.rmtree(project.layout.store)
    calls: list[str] = []
    watch(monkeypatch, calls, after)
    with pytest.raises(KeyboardInterrupt):
        project.make()
    assert len(calls) == after
    watch(monkeypatch, calls, 99)
    assert contents(project.make()) == unbroken
    assert len(calls) == 8 + 1  # three rows, two slices, an eigenvalue, two draws; the killed one again
    assert {path.name for path in project.workshop.store.path(project.node()).iterdir()} == {*FILES, "made_from.json"}


def watch(monkeypatch, calls: list[str], most: int) -> None:
    """Note each part that is computed, and kill the process at the beginning of number `most`."""
    monkeypatch.undo()
    for module, name in (
        (around, "surface_row"), (around, "slice_along"), (recipe, "_eigenvalue"), (hessian, "trace_draw"),
    ):  # fmt: skip
        real = getattr(module, name)

        def counted(*args: Any, real: Any = real, name: str = name) -> Any:
            calls.append(name)
            if len(calls) == most:
                raise KeyboardInterrupt
            return real(*args)

        monkeypatch.setattr(module, name, counted)


def test_a_head_on_stored_features_is_moved_alone(tmp_path, params_of):
    """The backbone's answers are computed once."""
    weights = made_weights(tmp_path / "test_resnet.safetensors")
    head = {"architecture": "timm:test_resnet", "weights": str(weights), "train": "head", "width": 1.0}
    project = Project(tmp_path, params_of(student=head | {"head": "mlp", "hidden": 5}, views={"preset": "none"}))
    student = project.write_student()
    folder = project.make()
    found = json.loads((folder / SHARPNESS).read_text())
    F_ = tiny().num_features
    assert (found["weights"], found["parameters"]) == ("head alone", 5 * F_ + 5 + C * 5 + C)
    assert sum(weight.numel() for weight in student.parameters()) == found["parameters"]
    assert len(list((project.layout.store / "features").glob("[!.]*"))) == 1


def test_a_student_that_answers_nan_is_an_error_that_names_its_file(project):
    project.write_student(factor=float("nan"))
    with pytest.raises(SettingError) as error:
        project.make()
    assert str(error.value).startswith(str(project.layout.student_weights(0, *METHODS["roskd"])))  # type: ignore[arg-type]
    assert "answers NaN for test images" in str(error.value)


def test_nan_away_from_the_weights_names_the_radius(project):
    project.write_student(factor=1e38)
    path = project.layout.student_weights(0, *METHODS["roskd"])  # type: ignore[arg-type]
    torch.manual_seed(0)
    network = project.params.student_network
    student = build(network.architecture, num_classes=C, **network.layers)
    with torch.no_grad():
        student.head.weight.mul_(1e30)
        student.backbone.layer4[1].bn2.weight.mul_(1e8)
    save_weights(student.state_dict(), path)
    with pytest.raises(
        SettingError, match=r"landscape\.radius is 9: the loss is NaN at the steps .*Set landscape\.rad"
    ):
        project.make(radius=9.0)


def test_a_hessian_that_is_not_finite_names_the_student(project, monkeypatch):
    def overflows(*_: object) -> float:
        raise FloatingPointError("the loss has no finite second derivatives there")

    monkeypatch.setattr(hessian, "trace_draw", overflows)
    project.write_student()
    with pytest.raises(SettingError, match=r"smoothed\.safetensors: the loss has no finite second .*\. Train it with"):
        project.make()


def test_of_a_smaller_test_split_all_images_are_taken(project):
    project.write_student()
    assert project.node(images=21).decides["images"] == project.node(images=20).decides["images"]
    assert project.node(images=19).decides["images"] != project.node(images=20).decides["images"]


def test_the_stage_links_the_files_and_leaves_a_method_without_a_student_out(project, monkeypatch, capsys):
    monkeypatch.setattr(stage, "open_workshop", lambda params, layout: project.workshop)
    project.write_student()
    params = project.params.model_copy(update={"methods": ("roskd",)})
    for method in ("roskd", "baseline_3"):
        stage.run(params, project.layout, 0, method)
    layout = project.layout
    for path in (layout.surface(0, "roskd"), layout.slices(0, "roskd"), layout.sharpness(0, "roskd")):
        assert path.read_bytes() == (project.make() / path.name).read_bytes()
    assert list(project.layout.landscape(0, "baseline_3").iterdir()) == []
    assert "landscape: baseline_3 is not in `methods`" in capsys.readouterr().out
