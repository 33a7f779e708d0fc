"""Stored soft labels: the teachers' answers to every view, whole, of one origin, taken up after a kill."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from models.classifier import Classifier
from models.inference import predict
from pipeline.common.errors import UserError
from pipeline.data.views import Views
from pipeline.distillation import soft_labels
from pipeline.distillation.soft_labels import SoftLabels, is_written, origin_of, write_soft_labels
from pipeline.params.tree import ViewParams

CPU = torch.device("cpu")
N, C, V = 45, 3, 2
IMAGES = np.random.default_rng(0).integers(0, 255, (N + 5, 12, 12, 3), dtype=np.uint8)
ROWS = np.arange(N) + 5
VIEWS = ViewParams(count=V, preset="flip_crop", seed=0)


def teacher() -> Classifier:
    torch.manual_seed(3)
    backbone = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
    return Classifier(backbone, nn.Sequential(nn.Dropout(0.1), nn.Linear(32, C)))


def write(path: Path, network: nn.Module, origin: dict[str, object] | None = None) -> None:
    write_soft_labels(path, origin or {}, network, IMAGES, ROWS, Views(VIEWS, N + 5), CPU)


def test_they_are_the_teachers_answers_to_each_view_and_the_clean_image(tmp_path):
    network, views, path = teacher(), Views(VIEWS, N + 5), tmp_path / "t.npy"
    write(path, network)
    store = np.load(path)
    assert store.shape == (V + 1, N, C)
    assert store.dtype == np.float16
    assert store[V] == pytest.approx(predict(network, IMAGES, ROWS, CPU), abs=2e-3)
    second = predict(network, IMAGES, ROWS, CPU, lambda pixels, rows: views.apply(pixels, rows, 1))
    assert store[1] == pytest.approx(second, abs=2e-3)
    assert np.abs(store[1].astype(float) - store[V]).max() > 0.01
    labels = SoftLabels([path, path], [{}, {}], CPU)
    assert labels.shape == (2, C)
    got = labels.logits(1, np.array([4, 0]))
    assert got.shape == (2, 2, C)
    assert got[1].numpy() == pytest.approx(second[[4, 0]], abs=2e-3)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["t.json", "t.npy"]


def test_a_teacher_that_diverged_is_told_and_leaves_no_file(tmp_path):
    network = teacher()
    with torch.no_grad():
        network.head[1].bias[0] = 70_000.0  # more than float16 holds
    with pytest.raises(UserError, match=r"the teacher resnet50 answers with logits that are not finite.*training\.lr"):
        write(tmp_path / "resnet50.npy", network)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def origin(tmp_path) -> dict[str, object]:
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(b"one")
    return origin_of(weights, "data", ROWS, VIEWS)


def test_answers_of_other_teachers_views_or_data_are_refused_by_name(tmp_path, origin):
    weights, path = tmp_path / "weights.safetensors", tmp_path / "resnet18.npy"
    write(path, teacher(), origin)
    SoftLabels([path], [origin], CPU)
    weights.write_bytes(b"two")
    cases = {
        "teacher weights": origin_of(weights, "data", ROWS, VIEWS),
        "teacher weights, data": origin_of(weights, "data", ROWS[1:], VIEWS),
        "data": origin | {"data": "other"},
        "views": origin | {"views": VIEWS.model_copy(update={"count": 3}).model_dump()},
    }
    for other, wanted in cases.items():
        with pytest.raises(UserError, match=rf"resnet18\.npy: was made from other {other} than this training uses"):
            SoftLabels([path], [wanted], CPU)
        assert not is_written(path, wanted)


def test_a_changed_definition_of_a_preset_is_another_origin(tmp_path, origin, monkeypatch):
    stronger = soft_labels.PRESETS["flip_crop"].__class__(flip_x=True, translate=0.2)
    monkeypatch.setitem(soft_labels.PRESETS, "flip_crop", stronger)
    assert origin_of(tmp_path / "weights.safetensors", "data", ROWS, VIEWS)["views"] != origin["views"]


@pytest.mark.parametrize("kept", [0, 100, 200])
def test_a_file_that_was_cut_off_is_refused_by_name(tmp_path, kept):
    path = tmp_path / "resnet18.npy"
    write(path, teacher())
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(UserError, match=r"resnet18\.npy: is damaged or cut off.*soft_labels stages again"):
        SoftLabels([path], [{}], CPU)


def test_an_unfinished_file_is_refused(tmp_path):
    path = tmp_path / "resnet18.npy"
    write(path, teacher())
    path.with_suffix(".json").unlink()
    with pytest.raises(UserError, match=r"resnet18\.npy: no finished soft labels there"):
        SoftLabels([path], [{}], CPU)


def test_a_killed_run_goes_on_after_its_last_block(tmp_path, monkeypatch):
    monkeypatch.setattr(soft_labels, "BLOCK_ROWS", 20)  # 3 blocks for each of the 3 views
    write(tmp_path / "unbroken.npy", teacher())
    path, answered = tmp_path / "t.npy", 0

    def dying(*arguments: object) -> np.ndarray:
        nonlocal answered
        answered += 1
        if answered == 5:
            raise KeyboardInterrupt
        return predict(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(soft_labels, "predict", dying)
    with pytest.raises(KeyboardInterrupt):
        write(path, teacher())
    assert not path.exists()
    assert json.loads((tmp_path / "t.progress.json").read_text())["blocks"] == 4
    answered = -100
    write(path, teacher())
    assert answered == -100 + 5  # of the 9 blocks
    assert path.read_bytes() == (tmp_path / "unbroken.npy").read_bytes()


def test_the_beginning_of_another_origin_is_not_taken_up(tmp_path, monkeypatch):
    monkeypatch.setattr(soft_labels, "BLOCK_ROWS", 20)
    path = tmp_path / "t.npy"
    path.with_suffix(".partial.npy").write_bytes(b"other")
    path.with_suffix(".progress.json").write_text(json.dumps({"origin": {"data": "other"}, "blocks": 4}))
    write(path, teacher(), {"data": "mine"})
    assert is_written(path, {"data": "mine"})
    assert np.load(path).shape == (V + 1, N, C)
