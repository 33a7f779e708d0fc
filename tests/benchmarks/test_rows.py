"""The arithmetic of `make bench`, how it takes turns and watches memory, and which rows there are."""

import importlib.util
import json
import mmap
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from benchmarks import __main__ as bench
from benchmarks import (
    copies,
    epoch_scaling,
    rows,
    smoothing,
    students_stored,
    study_peer,
    timing,
)
from benchmarks.rows import at_least, at_most, ratio_interval, reported


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
        (reported("a", [3.0, 3.5, 4.0], ""), "report", True),
    ],
)
def test_a_row_is_held_against_its_target(row, target, met):
    assert (row.target, row.met, row.n) == (target, met, 3)


def test_actions_take_turns_and_the_first_turn_is_not_counted(monkeypatch):
    now, order, waits = [0.0], [], []
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])

    def action(name: str, seconds: float) -> None:
        order.append(name)
        now[0] += seconds * len(order)

    actions = {"a": lambda: action("a", 1.0), "b": lambda: action("b", 10.0)}
    seconds = timing.alternate(actions, lambda: waits.append(1), turns=2)
    assert order == ["b", "a", "a", "b", "b", "a"]
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


def test_rows_replace_older_ones_of_their_name(tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "RESULTS", tmp_path)
    monkeypatch.setattr(rows, "_gpu", lambda: "NVIDIA H200")
    rows.keep([reported("first", [1.0], "old"), reported("second", [2.0], "old")])
    path = rows.keep([reported("first", [3.0], "new")])
    assert path.name.endswith(f"-{os.cpu_count()}-cores-nvidia-h200.json")
    kept = json.loads(path.read_text())
    assert [(row["name"], row["median"], row["what"]) for row in kept] == [
        ("first", 3.0, "new"),
        ("second", 2.0, "old"),
    ]


def test_every_benchmark_is_there_and_the_long_ones_only_by_name(capsys):
    for name in bench.BENCHMARKS + bench.ONLY_NAMED:
        assert importlib.util.find_spec(f"benchmarks.{name}") is not None, name
    long = {"overhead", "only_roskd", "study_workers", "default_seeds", "heads", "audit", "coverage", "abuse"}
    assert set(bench.ONLY_NAMED) == long
    assert not set(bench.ONLY_NAMED) & set(bench.BENCHMARKS)
    assert bench.main(["speed"]) == 2
    assert "BENCH is 'speed'; the rows are prepare, " in capsys.readouterr().err


def test_the_help_names_the_rows_that_run_only_by_name():
    (line,) = [line for line in (copies.ROOT / "Makefile").read_text().splitlines() if line.startswith("bench:")]
    assert all(name in line for name in bench.ONLY_NAMED)


def test_memory_of_this_process_is_seen():
    from benchmarks.memory import PeakWatch, anonymous

    if not Path("/proc/self/status").exists():
        pytest.skip("needs /proc")
    before = anonymous(os.getpid())
    with PeakWatch(os.getpid()) as watch:
        # 128 MiB of the system's own: numpy's might be memory that an earlier test has freed and that is still ours
        held = np.frombuffer(mmap.mmap(-1, 2**27, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS), np.uint8)
        held[:] = 1
        subprocess.run([sys.executable, "-c", "import time; time.sleep(0.2)"], check=True)
    assert held[0] == 1
    assert watch.peak - before / 1024 > 120
