"""Stored soft labels: the teachers' answers to every view, whole, of one origin, continued after a kill."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from models.classifier import Classifier
from models.inference import predict
from pipeline.common.errors import UserError
from pipeline.common.files import sha256_file
from pipeline.data.views import Views
from pipeline.distillation import soft_labels
from pipeline.distillation.soft_labels import CONTENT, Origin, SoftLabels, origin_of, require_origin, write_soft_labels
from pipeline.params.tree import ViewParams
from pipeline.training.inputs import Pixels, answers

CPU = torch.device("cpu")
N, C, V = 45, 3, 2
IMAGES = np.random.default_rng(0).integers(0, 255, (N + 5, 12, 12, 3), dtype=np.uint8)
ROWS = np.arange(N) + 5
VIEWS = ViewParams(count=V, preset="flip_crop", seed=0)


def teacher() -> Classifier:
    torch.manual_seed(3)
    backbone = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
    return Classifier(backbone, nn.Sequential(nn.Dropout(0.1), nn.Linear(32, C)))


def answers_of(network: nn.Module) -> Callable[[int], np.ndarray]:
    """What a network answers to a view of the training rows, (N, C)."""
    views = Views(VIEWS, N + 5)
    return lambda view: answers(network, Pixels(IMAGES, views, CPU), ROWS, view, CPU)


def write(path: Path, network: nn.Module) -> None:
    path.parent.mkdir(exist_ok=True)
    write_soft_labels(path, V, answers_of(network), title=path.stem)


def test_they_are_the_teachers_answers_to_each_view_and_the_clean_image(tmp_path):
    network, path = teacher(), tmp_path / "t.npy"
    write(path, network)
    store = np.load(path)
    assert store.shape == (V + 1, N, C)
    assert store.dtype == np.float16
    assert store[V] == pytest.approx(predict(network, IMAGES, ROWS, CPU), abs=2e-3)
    second = answers_of(network)(1)
    assert store[1] == pytest.approx(second, abs=2e-3)
    assert np.abs(store[1].astype(float) - store[V]).max() > 0.01
    labels = SoftLabels([path, path], CPU)
    assert labels.shape == (2, C)
    got = labels.logits(1, torch.tensor([4, 0]))
    assert got.shape == (2, 2, C)
    assert got[1].numpy() == pytest.approx(second[[4, 0]], abs=2e-3)
    assert [file.name for file in tmp_path.iterdir()] == ["t.npy"]


@pytest.mark.parametrize("bias", [70_000.0, float("nan")])  # more than float16 holds
def test_a_teacher_that_diverged_is_reported_and_leaves_no_file(tmp_path, bias):
    network = teacher()
    with torch.no_grad():
        network.head[1].bias[0] = bias
    with pytest.raises(UserError, match=r"the teacher resnet50 answers with logits that are not finite.*training\.lr"):
        write(tmp_path / "resnet50.npy", network)
    assert list(tmp_path.iterdir()) == []


def test_of_several_processes_one_writes_and_all_answer(tmp_path):
    asked = []
    path = tmp_path / "t.npy"
    write_soft_labels(path, V, lambda view: asked.append(view) or np.zeros((N, C)), title="t", leads=False)
    assert asked == [0, 1, 2]
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def origin() -> Origin:
    return origin_of("one", "data", ROWS, VIEWS)


@pytest.fixture
def finished(tmp_path, origin) -> tuple[Path, Path]:
    """A file of answers and the record of their hash and of what they were made from."""
    path, record = tmp_path / "resnet18.npy", tmp_path / "origin.json"
    write(path, teacher())
    record.write_text(json.dumps(origin | {CONTENT: sha256_file(path)}))
    return path, record


def test_answers_of_other_teachers_views_or_data_are_refused_by_name(finished, origin):
    path, record = finished
    assert require_origin(path, record, origin) == sha256_file(path)
    cases = {
        "teacher weights": origin_of("two", "data", ROWS, VIEWS),
        "teacher weights, data": origin_of("two", "data", ROWS[1:], VIEWS),
        "data": origin_of("one", "other", ROWS, VIEWS),
        "views": origin_of("one", "data", ROWS, VIEWS.model_copy(update={"count": 3})),
    }
    for other, wanted in cases.items():
        with pytest.raises(UserError, match=rf"resnet18\.npy: was made from other {other} than this training uses"):
            require_origin(path, record, wanted)


def test_a_changed_definition_of_a_preset_is_another_origin(origin, monkeypatch):
    stronger = soft_labels.PRESETS["flip_crop"].__class__(flip_x=True, translate=0.2)
    monkeypatch.setitem(soft_labels.PRESETS, "flip_crop", stronger)
    again = origin_of("one", "data", ROWS, VIEWS)
    assert again["views"] != origin["views"]
    assert again | {"views": 0} == origin | {"views": 0}


@pytest.mark.parametrize("missing", [0, 1])
def test_unfinished_answers_are_refused(finished, origin, missing):
    finished[missing].unlink()
    with pytest.raises(UserError, match=r"resnet18\.npy: no finished soft labels there\. Run the soft_labels stages"):
        require_origin(finished[0], finished[1], origin)


def test_answers_that_were_altered_are_refused_by_name(finished, origin):
    path, record = finished
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"resnet18\.npy: is damaged, its SHA-256 is not .*Delete it\. Run the soft"):
        require_origin(path, record, origin)


@pytest.mark.parametrize("kept", [0, 100, 200])
def test_a_file_that_was_cut_off_is_refused_by_name(tmp_path, kept):
    path = tmp_path / "resnet18.npy"
    write(path, teacher())
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(UserError, match=r"resnet18\.npy: is damaged or cut off.*soft_labels stages again"):
        SoftLabels([path], CPU)


@pytest.mark.parametrize("finished_views", [0, 1, 2])
def test_a_killed_run_loses_at_most_the_view_that_it_was_at(tmp_path, finished_views):
    write(tmp_path / "unbroken/t.npy", teacher())
    path, answer, asked = tmp_path / "broken/t.npy", answers_of(teacher()), []
    path.parent.mkdir()

    def dying(view: int) -> np.ndarray:
        if view == finished_views:
            raise KeyboardInterrupt
        return answer(view)

    with pytest.raises(KeyboardInterrupt):
        write_soft_labels(path, V, dying, title="t")
    assert not path.exists()
    assert sorted(part.name for part in path.parent.iterdir()) == [f"view-{view}.npy" for view in range(finished_views)]
    write_soft_labels(path, V, lambda view: asked.append(view) or answer(view), title="t")
    assert asked == list(range(finished_views, V + 1))
    assert path.read_bytes() == (tmp_path / "unbroken/t.npy").read_bytes()
    assert [file.name for file in path.parent.iterdir()] == ["t.npy"]


def test_a_run_killed_while_it_joins_the_views_answers_none_again(tmp_path, monkeypatch):
    path = tmp_path / "t.npy"
    with monkeypatch.context() as full:
        full.setattr(soft_labels, "reserve", no_space)
        with pytest.raises(OSError, match="No space left"):
            write(path, teacher())
    assert sorted(file.name for file in tmp_path.iterdir()) == ["view-0.npy", "view-1.npy", "view-2.npy"]
    write_soft_labels(path, V, lambda view: pytest.fail("answered before"), title="t")
    assert np.load(path).shape == (V + 1, N, C)
    assert [file.name for file in tmp_path.iterdir()] == ["t.npy"]


def no_space(path: Path, size: int) -> None:
    raise OSError(28, "No space left on device", str(path))
