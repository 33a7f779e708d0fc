"""What the timed trainings are made of, the trainers they are compared with, and one row at a tiny size."""

from collections import Counter

import numpy as np
import pytest
import torch

from benchmarks import (
    features,
    kd_step,
    peers,
    rival_step,
    smoothing,
    students_stored,
    trainings,
)
from benchmarks.rows import Row
from models.inference import to_pixels
from pipeline.distillation.losses import student_loss, supervised_loss, teacher_divergences
from pipeline.distillation.methods import METHODS, runs_of
from pipeline.distillation.soft_labels import SoftLabels
from pipeline.params.file import load
from tests.training.tiny import CPU, small_network


def test_the_students_of_a_seed_are_the_default_runs():
    runs = [METHODS[name] for name in runs_of(load().methods)]
    kinds = Counter(map(students_stored._kind, runs))
    assert len(runs) == 7
    assert kinds[(True, "uniform", 5, False)] == 2
    assert kinds[(True, "stochastic", 5, True)] == kinds[(False, "uniform", 0, False)] == 1


def test_stored_answers_are_those_of_the_views(tmp_path):
    images = trainings.random_images(6, size=12)
    data = trainings.training_set(images, CPU, np.arange(4), views=2)
    teacher = small_network()
    trainings.write_answers(tmp_path / "one/answers.npy", teacher, data, CPU)
    stored = SoftLabels([tmp_path / "one/answers.npy"], CPU)
    assert stored.shape == (1, 3)
    for view in range(3):  # the clean one last
        pixels = data.inputs.views.apply(to_pixels(torch.from_numpy(images[:4])), torch.arange(4), view)
        expected = teacher.eval()(pixels)
        torch.testing.assert_close(stored.logits(view, torch.arange(4))[0], expected, atol=2e-3, rtol=2e-3)
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["answers.npy"]
    assert trainings.stored_answers(data, tmp_path, CPU, 3).shape == (3, trainings.CLASSES)


def test_a_row_at_a_tiny_size(monkeypatch):
    monkeypatch.setattr(kd_step, "BATCH", 4)
    monkeypatch.setattr(kd_step, "STEPS_ON_CPU", 1)
    monkeypatch.setattr(kd_step, "TURNS", 2)
    monkeypatch.setattr(kd_step, "pick_device", lambda wish: CPU)
    (row,) = kd_step.measure(load())
    assert (row.name, row.target, row.n) == ("kd_step", "<= 1.05", 2)
    assert 0 < row.low <= row.median <= row.high < 20
    assert isinstance(row, Row)
    assert "K = 5 stored" in row.what


def test_the_rows_of_rivals_at_a_tiny_size(monkeypatch):
    for name, value in (("BATCH", 4), ("STEPS_ON_CPU", 1), ("TURNS", 2), ("pick_device", lambda wish: CPU)):
        monkeypatch.setattr(rival_step, name, value)
    rows = rival_step.measure(load())
    assert [(row.name, row.target, row.n) for row in rows] == [
        ("gce_step", "<= 1.05", 2), ("elr_step", "<= 1.05", 2), ("co_teaching_step", "<= 2.1", 2),
    ]  # fmt: skip


def test_the_row_of_smoothing_at_a_tiny_size(monkeypatch):
    for name, value in (("IMAGES", 8), ("EPOCHS", 2), ("WARMUP", 0.0), ("pick_device", lambda wish: CPU)):
        monkeypatch.setattr(smoothing, name, value)
    (row,) = smoothing.measure(load())
    assert (row.name, row.target) == ("smoothing", "<= 0.05")
    assert row.median > 0
    assert "2 averages and the BatchNorm pass over 2 epochs of 8 images" in row.what


def test_the_rows_of_features_at_a_tiny_size(monkeypatch):
    tiny = {"NETWORK": "timm:test_resnet", "SIZE": 32, "TIMED": 8, "BATCH": 4, "TURNS": 2}
    for name, value in (tiny | {"pick_device": lambda wish: CPU}).items():
        monkeypatch.setattr(features, name, value)
    rows = features.measure(load())
    assert [(row.name, row.target, row.n) for row in rows] == [("features", "<= 12", 2), ("heads_study", "<= 0.05", 2)]
    assert all(row.median > 0 for row in rows)


def test_the_peer_minimises_our_loss():
    logits, teacher_logits = torch.randn(6, 3), torch.randn(1, 6, 3)  # of one teacher, whose weight is 1
    targets = torch.tensor([0, 1, 2, 0, 1, 2])
    ours = student_loss(
        supervised_loss(logits, targets, "multiclass"),
        teacher_divergences(logits, teacher_logits, 2.0, "multiclass"),
        torch.ones(1, 1),
        tau=2.0,
        alpha=0.9,
    )
    theirs = peers.roskd_loss(logits, teacher_logits, targets, 2.0, 0.9)
    assert theirs.item() == pytest.approx(ours["total"].item(), rel=1e-5)


def test_the_plain_peer_trains_the_student_alone():
    images = np.random.default_rng(0).integers(0, 256, (8, 12, 12, 3), np.uint8)
    student, teachers = small_network(), [small_network(), small_network()]
    before = [{name: value.clone() for name, value in model.state_dict().items()} for model in [student, *teachers]]
    pictures = peers.Pictures(images, np.arange(8) % 3)
    assert pictures[0][0].shape == (3, 12, 12)
    job = peers.Job(pictures, student, teachers, {"lr": 0.1}, CPU, 4, 0.5, 0.9)
    steps = peers.plain_steps(job)
    for _ in range(3):  # into the second epoch
        next(steps)
    steps.close()
    changed = [
        any(not torch.equal(value, old[name]) for name, value in model.state_dict().items())
        for model, old in zip([student, *teachers], before, strict=True)
    ]
    assert changed == [True, False, False]


def test_a_peer_that_does_not_install_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    assert peers.install_torchdistill(tmp_path / "peer") is None
