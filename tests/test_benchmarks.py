"""The arithmetic of `make bench`, its clock, and one row at a tiny size."""

import importlib.util
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import norm

from benchmarks import __main__ as bench
from benchmarks import (
    coverage,
    epoch_scaling,
    kd_step,
    overhead,
    peers,
    rows,
    smoothing,
    students_stored,
    study_peer,
    timing,
)
from benchmarks.clock import sitecustomize as clock
from benchmarks.rows import Row, at_least, at_most, ratio_interval, told
from pipeline.distillation.losses import student_loss, supervised_loss, teacher_divergences
from pipeline.params.file import load
from tests.training.tiny import CPU, small_network


@pytest.mark.parametrize(
    ("ratios", "expected"),
    [([2.0] * 20, (2.0, 2.0, 2.0)), ([1.0, 3.0], (2.0, 1.0, 3.0)), ([5.0], (5.0, 5.0, 5.0))],
)
def test_the_interval_of_a_median(ratios, expected):
    assert ratio_interval(ratios) == expected


def test_the_interval_covers_the_true_median_about_as_often_as_it_says():
    samples = np.random.default_rng(0).normal(1.0, 0.1, (200, 20))
    intervals = [ratio_interval(sample) for sample in samples]
    assert 0.90 < np.mean([low <= 1.0 <= high for _, low, high in intervals]) < 0.99


@pytest.mark.parametrize(
    ("row", "target", "met"),
    [
        (at_most("a", [1.0, 1.05, 1.1], 1.05, ""), "<= 1.05", True),
        (at_most("a", [1.0, 1.06, 1.1], 1.05, ""), "<= 1.05", False),
        (at_least("a", [1.5, 1.6, 1.7], 1.6, ""), ">= 1.6", True),
        (at_least("a", [1.5, 1.59, 1.7], 1.6, ""), ">= 1.6", False),
        (told("a", [3.0, 3.5, 4.0], ""), "report", True),
    ],
)
def test_a_row_is_held_against_its_target(row, target, met):
    assert (row.target, row.met, row.n) == (target, met, 3)


def test_actions_take_turns_and_the_first_turn_is_not_counted(monkeypatch):
    now, told_order, waits = [0.0], [], []
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])

    def action(name: str, seconds: float) -> None:
        told_order.append(name)
        now[0] += seconds * len(told_order)

    actions = {"a": lambda: action("a", 1.0), "b": lambda: action("b", 10.0)}
    seconds = timing.alternate(actions, lambda: waits.append(1), turns=2)
    assert told_order == ["b", "a", "a", "b", "b", "a"]
    assert {name: values.tolist() for name, values in seconds.items()} == {"a": [3.0, 6.0], "b": [40.0, 50.0]}
    assert len(waits) == 12


def test_all_students_of_a_seed_are_composed_of_their_kinds():
    plain, taught = (False, "uniform", 0, False), (True, "uniform", 5, False)
    seconds = {f"stored {plain}": [1.0, 2.0], f"stored {taught}": [1.0, 2.0], f"online {taught}": [3.0, 6.0]}
    arrays = {name: np.array(values) for name, values in seconds.items()}
    ratios = students_stored.compose(arrays, np.array([0.5, 1.0]), Counter({plain: 1, taught: 2}), views=10)
    assert ratios == pytest.approx([(2 * 11 * 0.5 + 50 * 3) / (50 * 7)] * 2)


def test_a_study_is_composed_of_one_image():
    ratio = study_peer.compose(np.array([1.0]), np.array([2.5]), np.array([3.5]))
    assert ratio == pytest.approx([(1000 + 51 * 2.5) / 3500])


def test_smoothing_is_composed_of_averages_and_the_last_pass():
    seconds = {"update": np.array([0.01]), "finish": np.array([1.0]), "epoch": np.array([2.0])}
    assert smoothing.compose(seconds, averaged=10) == pytest.approx([1.1 / 24])


@pytest.mark.parametrize(
    ("slow_turn", "met"),
    [(1.0, True), (30.0, False)],  # one slow turn of three leaves the median alone, but not the whole epochs
)
def test_epochs_are_held_to_the_target_as_a_whole_too(slow_turn, met):
    small = [epoch_scaling.Turn(1.0, 100, 500.0)] * 3
    large = [epoch_scaling.Turn(1.0, 100, 520.0)] * 2 + [epoch_scaling.Turn(slow_turn, 100, 530.0)]
    time_row, memory = epoch_scaling.rows(large, small)
    assert (time_row.median, time_row.met) == (1.0, met)
    assert (memory.median, memory.met) == (1.04, True)
    assert "at most 530 and 500 MiB (+30)" in memory.what


@pytest.mark.parametrize(
    ("intervals", "length"),
    [([], 0.0), ([(0, 2), (3, 4)], 3.0), ([(0, 5), (1, 2)], 5.0), ([(3, 6), (0, 4)], 6.0)],
)
def test_the_union_of_intervals(intervals, length):
    assert overhead.covered(intervals) == length


def test_overhead_is_what_no_tensor_work_covers():
    stages = [
        overhead.Stage(10.0, 20.0, [(14.0, 18.0), (15.0, 16.0)]),  # a prediction inside another interval
        overhead.Stage(30.0, 40.0, []),  # a stage without torch
    ]
    row = overhead.row(100.0, stages)
    assert (row.median, row.low, row.high, row.n, row.met) == (0.96, 0.96, 0.96, 1, False)
    assert "100 s, of which torch 4; between 2 stages 80, in stages before their first tensor work 14, after it 2" in (
        row.what
    )


def test_the_clock_wraps_what_stages_compute_with(tmp_path):
    module = tmp_path / "models/inference.py"
    module.parent.mkdir()
    module.write_text("import time\ndef predict(seconds):\n    time.sleep(seconds)\n    return seconds\n")
    program = "from models.inference import predict; assert predict(0.05) == 0.05"
    watched = {"PYTHONPATH": os.pathsep.join([str(overhead.CLOCK), str(tmp_path)]), "ROSKD_CLOCK": str(tmp_path)}
    subprocess.run([sys.executable, "-c", program], env=os.environ | watched, cwd=tmp_path, check=True)
    (path,) = tmp_path.glob("*.json")
    record = json.loads(path.read_text())
    ((begun, ended),) = record["torch"]
    assert record["started"] <= begun
    assert 0.05 <= ended - begun < 1
    assert ended <= record["ended"]
    assert overhead.read(path) is None  # no stage
    path.write_text(json.dumps(record | {"arguments": ["python", "-m", "pipeline.stages", "evaluate"]}))
    assert overhead.read(path) == overhead.Stage(record["started"], record["ended"], [(begun, ended)])


def test_the_clock_watches_what_is_there():
    for name, functions in clock.WATCHED.items():
        for function in functions:
            owner = importlib.import_module(name)
            for part in function.split("."):
                owner = getattr(owner, part)
            assert callable(owner)


def test_rows_replace_older_ones_of_their_name(tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "RESULTS", tmp_path)
    monkeypatch.setattr(rows, "_gpu", lambda: "NVIDIA H200")
    rows.keep([told("first", [1.0], "old"), told("second", [2.0], "old")])
    path = rows.keep([told("first", [3.0], "new")])
    assert path.name.endswith(f"-{os.cpu_count()}-cores-nvidia-h200.json")
    kept = json.loads(path.read_text())
    assert [(row["name"], row["median"], row["what"]) for row in kept] == [
        ("first", 3.0, "new"),
        ("second", 2.0, "old"),
    ]


@pytest.mark.parametrize(
    ("key", "hits", "expected"),
    [
        (("f1_macro", "groups", 5), 95, ("coverage_fixed_5_f1", 0.95, "0.93 to 0.97", True)),
        (("auroc_macro", "groups", 10), 90, ("coverage_fixed_10_auroc", 0.90, "0.93 to 0.97", False)),
        (("f1_macro", "groups+seeds", 5), 90, ("coverage_drawn_5_f1", 0.90, "report", True)),
    ],
)
def test_coverage_is_held_against_its_target_where_seeds_are_fixed(key, hits, expected):
    row = coverage.row(key, [True] * hits + [False] * (100 - hits))
    assert (row.name, row.median, row.target, row.met) == expected
    assert row.n == 100
    if hits == 95:  # Wilson's interval: (.95 + z²/200 ± z sqrt(.95 * .05 / 100 + z²/40000)) / (1 + z²/100), z = 1.96
        assert (row.low, row.high) == pytest.approx((0.8882, 0.9785), abs=1e-4)


def test_the_truth_of_a_simulated_run_is_its_integral():
    # of three classes, class c is called where its normal logit is above two others: an integral in one dimension
    signal, sd = 1.8, np.sqrt(0.6**2 + 0.4**2 + 0.5**2 + 0.6**2)
    points = np.linspace(-8, 8, 4001)
    right = np.trapezoid(norm.pdf(points) * norm.cdf(points + signal / sd) ** 2, points)
    shares = np.array(coverage.CLASS_SHARES)
    called = shares * right + (1 - shares) * (1 - right) / 2
    f1 = np.mean(2 * shares * right / (shares + called))
    assert coverage.truth_curve()["f1_macro"](signal) == pytest.approx(f1, abs=0.003)


def test_coverage_at_a_tiny_size(monkeypatch):
    for name, value in {"TESTS": 3, "GROUPS": 40, "RESAMPLES": 39, "TRUTH_IMAGES": 2000}.items():
        monkeypatch.setattr(coverage, name, value)
    found = coverage.measure(load())
    assert [row.name for row in found] == [
        f"coverage_{kind}_{seeds}_{metric}"
        for kind in ("fixed", "drawn")
        for seeds in (5, 10)
        for metric in ("f1", "auroc")
    ]
    assert {row.n for row in found} == {3}
    assert "10 seeds resampled; 40 groups of 1 to 6 images, 39 resamples" in found[-1].what
    assert [row.median for row in coverage.measure(load())] == [row.median for row in found]


def test_every_benchmark_is_there_and_the_long_ones_only_by_name(capsys):
    for name in bench.BENCHMARKS + bench.ONLY_NAMED:
        assert importlib.util.find_spec(f"benchmarks.{name}") is not None, name
    assert not {"overhead", "coverage"} & set(bench.BENCHMARKS)
    assert bench.main(["speed"]) == 2
    assert "BENCH is 'speed'; the rows are prepare, " in capsys.readouterr().err


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


def test_unknown_peer_is_told_by_its_absence(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    assert peers.install_torchdistill(tmp_path / "peer") is None


def test_memory_of_this_process_is_seen():
    from benchmarks.memory import PeakWatch, anonymous

    if not Path("/proc/self/status").exists():
        pytest.skip("needs /proc")
    before = anonymous(os.getpid())
    with PeakWatch(os.getpid()) as watch:
        held = np.ones(2**24)  # 128 MiB
        subprocess.run([sys.executable, "-c", "import time; time.sleep(0.2)"], check=True)
    assert held[0] == 1
    assert watch.peak - before / 1024 > 120
