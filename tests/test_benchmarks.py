"""The arithmetic of `make bench`, its clock, and one row at a tiny size."""

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
import torch
from scipy.stats import norm

from benchmarks import __main__ as bench
from benchmarks import (
    copies,
    coverage,
    epoch_scaling,
    kd_step,
    only_roskd,
    overhead,
    peers,
    rows,
    smoothing,
    students_stored,
    study_peer,
    study_workers,
    timing,
    trainings,
)
from benchmarks.clock import sitecustomize as clock
from benchmarks.rows import Row, at_least, at_most, ratio_interval, reported
from models.inference import to_pixels
from pipeline.common.errors import UserError
from pipeline.distillation.losses import student_loss, supervised_loss, teacher_divergences
from pipeline.distillation.methods import METHODS, runs_of
from pipeline.distillation.soft_labels import SoftLabels
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


def test_the_clock_covers_every_prediction_of_the_stages(tmp_path):
    program = (
        "from pipeline.recipes import answers, bench\n"
        "from models import export\n"
        "from pipeline.training.loop import _Training\n"
        "for function in (answers.predict, bench.predict, export.predict, _Training._train):\n"
        "    assert hasattr(function, '__wrapped__'), function\n"
    )
    watched = {"PYTHONPATH": str(overhead.CLOCK), "ROSKD_CLOCK": str(tmp_path)}
    subprocess.run([sys.executable, "-c", program], env=os.environ | watched, cwd=copies.ROOT, check=True)


def test_a_copy_of_the_project_is_a_repository_with_other_settings(tmp_path, monkeypatch):
    copies.copy_project(tmp_path, study_workers.SETTINGS)
    params = load(tmp_path / "params.yaml")
    assert (params.training.epochs, params.tracking.enabled) == (3, False)
    assert params.study.grids[study_workers.GRID].vary == ({"distillation.tau": (0.5, 2.0)},)
    assert not (tmp_path / "artifacts").exists()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://nowhere")
    listed = "git status --porcelain && echo $MLFLOW_TRACKING_URI$OWN && command -v python"
    assert 0 < copies.wall_seconds(tmp_path, "sh", "-c", f"({listed}) > ../printed", OWN="own") < 60
    printed = (tmp_path.parent / "printed").read_text().splitlines()
    assert printed == ["own", str(Path(sys.executable).parent / "python")]
    with pytest.raises(subprocess.CalledProcessError):
        copies.wall_seconds(tmp_path, "false")
    with pytest.raises(UserError, match="taau"):
        copies.copy_project(tmp_path / "other", {"distillation": {"taau": 1.0}})


@pytest.fixture
def commands(monkeypatch):
    """What the rows on copies run, without running it: a study makes six students and takes 100 s per worker left."""
    run: list[tuple[str, dict[str, str]]] = []

    def wall_seconds(project: Path, *command: str, **variables: str) -> float:
        run.append((" ".join(command), variables))
        if "pipeline.study" not in command:
            return 1.0
        students = project / "artifacts/store/students"
        assert not students.exists(), "the store of the study before"
        for name in [*map(str, range(6)), ".unfinished"]:
            (students / name).mkdir(parents=True)
        return 100 / int(command[-1]) + 5

    monkeypatch.setattr(study_workers, "copy_project", lambda project, settings: project.mkdir())
    monkeypatch.setattr(study_workers, "wall_seconds", wall_seconds)
    return run


def test_a_study_with_two_workers_is_divided_by_one_with_one(commands):
    (row,) = study_workers.measure(load())
    assert (row.name, row.target, row.met, row.n) == ("study_workers", "<= 0.6", True, 1)
    assert row.median == pytest.approx(55 / 105)
    assert "a grid of 2 cells (6 students on shared teachers) with 2 workers of one thread, 55 s, over" in row.what
    assert [command for command, _ in commands[:5]] == [
        f"python -m pipeline.stages {stage}" for stage in ("check", "code", "prepare", "split", "noise")
    ]
    assert commands[-2:] == [
        (f"python -m pipeline.study run workers --workers {workers}", {"OMP_NUM_THREADS": "1"}) for workers in (1, 2)
    ]
    assert study_workers.row(100.0, 61.0).met is False


def test_a_study_that_leaves_a_student_out_is_no_measurement(commands, monkeypatch):
    monkeypatch.setattr(study_workers, "METHODS", ["baseline_3", "roskd"])
    with pytest.raises(RuntimeError, match="6 students were trained, not 4"):
        study_workers.measure(load())


def test_roskd_alone_is_divided_by_the_default_methods(monkeypatch):
    seconds, copied = {"roskd": 40.0}, []

    def copy(project: Path, settings: dict) -> None:
        copied.append(settings)

    def wall_seconds(project: Path, *command: str) -> float:
        assert command == ("python", "-m", "pipeline.stages", "all")
        return seconds.get("+".join(copied[-1]["methods"]), 100.0)

    monkeypatch.setattr(only_roskd, "copy_project", copy)
    monkeypatch.setattr(only_roskd, "wall_seconds", wall_seconds)
    params = load()
    (row,) = only_roskd.measure(params)
    assert (row.name, row.median, row.target, row.met) == ("only_roskd", 0.4, "<= 0.45", True)
    assert [one["methods"] for one in copied] == [["roskd"], list(params.methods)]
    assert [one["tracking"] for one in copied] == [{"enabled": False}] * 2
    assert "methods: [roskd], 40 s, over that with 8 methods, 100 s" in row.what
    assert only_roskd.row(46.0, 100.0, 8).met is False


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
    assert set(bench.ONLY_NAMED) == {"overhead", "only_roskd", "study_workers", "coverage"}
    assert not set(bench.ONLY_NAMED) & set(bench.BENCHMARKS)
    assert bench.main(["speed"]) == 2
    assert "BENCH is 'speed'; the rows are prepare, " in capsys.readouterr().err


def test_the_help_names_the_rows_that_run_only_by_name():
    (line,) = [line for line in (copies.ROOT / "Makefile").read_text().splitlines() if line.startswith("bench:")]
    assert all(name in line for name in bench.ONLY_NAMED)


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
    trainings.write_answers(tmp_path / "one/answers.npy", teacher, data, data.views, CPU)
    stored = SoftLabels([tmp_path / "one/answers.npy"], CPU)
    assert stored.shape == (1, 3)
    for view in range(3):  # the clean one last
        pixels = data.views.apply(to_pixels(torch.from_numpy(images[:4])), torch.arange(4), view)
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
