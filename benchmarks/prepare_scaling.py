"""Can the data stages take 112,120 images? Time and memory of check, prepare, split, noise and subsets."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from benchmarks.memory import PeakWatch
from benchmarks.rows import Row
from pipeline.common.files import write_json
from pipeline.data.sources.chestxray14 import CLASSES, NO_FINDING, TABLE, TEST_LIST
from pipeline.params.file import read_yaml
from pipeline.params.overlay import merge
from pipeline.params.tree import Params
from pipeline.runtime.workers import count_cores, share
from pipeline.stages.preset import read_preset

ROOT = Path(__file__).parents[1]
LARGE, SMALL = 112_120, 11_212
RUNS = 3
SIDE = 64
STAGES = ("check", "prepare", "split", "noise", "subsets")
RATES = (0.10, 0.03, 0.12, 0.18, 0.05, 0.06, 0.01, 0.05)
"""How often each of CLASSES is found, about as in ChestX-ray14."""


@dataclass(frozen=True)
class Measured:
    """Wall seconds of each stage, and the highest sum of RssAnon over a stage's processes, in MiB."""

    seconds: dict[str, float]
    peaks: dict[str, float]

    @property
    def total(self) -> float:
        """Wall seconds of all stages."""
        return sum(self.seconds.values())


def measure(params: Params) -> list[Row]:
    """Run all stages RUNS times at both sizes, turn by turn; needs /proc and about a gigabyte of temporary files."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        projects = {count: _project(root / str(count), root / "films", count) for count in (LARGE, SMALL)}
        runs: dict[int, list[Measured]] = {LARGE: [], SMALL: []}
        for _ in range(RUNS):
            for count, project in projects.items():
                runs[count].append(_run(project))
                print(f"prepare_scaling: {count:,} images, {_by_stage(runs[count][-1])}", flush=True)
    ratios = [
        (large.total / LARGE) / (small.total / SMALL) for large, small in zip(runs[LARGE], runs[SMALL], strict=True)
    ]
    seconds = [run.total for run in runs[LARGE]]
    peaks = [max(run.peaks.values()) for run in runs[LARGE]]
    what = f"{', '.join(STAGES)} at N = {LARGE:,} on {count_cores()} cores (low, high: of the runs)"
    return [
        _row("prepare_scaling", ratios, 1.2, f"time per image against N = {SMALL:,}; {what}"),
        _row("prepare_seconds", seconds, 600, f"wall seconds of {what}"),
        _row("prepare_memory", peaks, 2048, f"highest RssAnon, summed over processes, MiB; {what}"),
    ]


def _row(name: str, values: list[float], limit: float, what: str) -> Row:
    median = float(np.median(values))
    return Row(name, median, min(values), max(values), f"<= {limit:g}", median <= limit, len(values), what)


def _by_stage(measured: Measured) -> str:
    return ", ".join(f"{stage} {measured.seconds[stage]:.1f} s {measured.peaks[stage]:.0f} MiB" for stage in STAGES)


def _project(path: Path, films: Path, count: int) -> Path:
    """A folder to run stages in, with `count` films in the NIH layout; those already in `films` are linked."""
    data = path / "data"
    names, patients = _films(count)
    paths = [films / f"{i // 10_000:03d}" / name for i, name in enumerate(names)]
    for folder in {path.parent for path in paths}:
        folder.mkdir(parents=True, exist_ok=True)
    list(share(_draw, [(i, path) for i, path in enumerate(paths) if not path.exists()], count_cores()))
    for i, film in enumerate(paths):
        folder = data / f"images_{1 + i // 10_000:03d}/images"
        if i % 10_000 == 0:
            folder.mkdir(parents=True)
        os.link(film, folder / film.name)
    rng = np.random.default_rng(0)
    found = rng.random((count, len(CLASSES))) < RATES
    labels = ["|".join(np.array(CLASSES)[row]) or NO_FINDING for row in found]
    table = pd.DataFrame({"Image Index": names, "Finding Labels": labels, "Patient ID": patients})
    table.to_csv(data / TABLE, index=False)
    (data / TEST_LIST).write_text("\n".join(np.array(names)[np.array(patients) % 4 == 0]))
    tree = read_yaml(ROOT / "params.yaml")
    merge(tree, read_preset("cardio-small"))
    merge(tree, {"data": {"path": str(data), "image_size": SIDE}, "machine": {"workers": 0}})
    merge(tree, {"noise": {"kind": "flip", "miss_rate": 0.1, "false_rate": 0.02}})
    write_json(path / "params.yaml", tree)  # JSON is YAML
    shutil.copy(ROOT / "corrections.csv", path)
    shutil.copytree(ROOT / "presets", path / "presets")
    return path


def _films(count: int) -> tuple[list[str], list[int]]:
    """File names and patients: 1 to many films each, 3.6 in the mean as in ChestX-ray14."""
    sizes = np.random.default_rng(1).geometric(1 / 3.64, count)
    patients = np.repeat(np.arange(1, count + 1), sizes)[:count].tolist()
    follow_ups = np.concatenate([np.arange(size) for size in sizes])[:count].tolist()
    names = [f"{patient:08d}_{number:03d}.png" for patient, number in zip(patients, follow_ups, strict=True)]
    return names, patients


def _draw(task: tuple[int, Path]) -> None:
    seed, path = task
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE), np.uint8)).save(path, compress_level=1)


def _run(project: Path) -> Measured:
    shutil.rmtree(project / "artifacts", ignore_errors=True)
    seconds, peaks = {}, {}
    for stage in STAGES:
        seconds[stage], peaks[stage] = _run_stage(project, stage)
    images = json.loads((project / "artifacts/data/report.json").read_text())["images"]
    assert images in (LARGE, SMALL), images
    return Measured(seconds, peaks)


def _run_stage(project: Path, stage: str) -> tuple[float, float]:
    """Return wall seconds and the peak of RssAnon over the process and its descendants, in MiB."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "pipeline.stages", stage]
    process = subprocess.Popen(
        command, cwd=project, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL
    )
    with PeakWatch(process.pid) as watch:
        code = process.wait()
        seconds = time.perf_counter() - started
    if code != 0:
        raise RuntimeError(f"stage {stage} ended with status {code} in {project}")
    return seconds, watch.peak
