"""How long do 20 head teachers and 12 students of one seed take, once the features are there? By name only."""

import tempfile
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from benchmarks.copies import copy_project, wall_seconds
from benchmarks.features import EPOCHS, IMAGES, NETWORK, VIEWS
from benchmarks.rows import Row
from models.classifier import save_weights
from models.networks import build
from pipeline.common.files import write_text
from pipeline.params.file import PARAMS_FILE
from pipeline.params.overlay import overlaid
from pipeline.params.tree import Params
from pipeline.runtime.workers import count_cores

LIMIT = 60.0
METHODS = ("baseline_1", "baseline_2", "baseline_3", "baseline_3_same", "baseline_4", "baseline_5", "roskd_unseen",
           "roskd_cross", "label_smoothing", "gce", "sce", "elr")  # fmt: skip
"""Twelve students of one seed; with three partitions of five heads they have 15 + 5 teachers."""
WIDE: dict[str, Any] = {
    "teachers": {"architectures": [NETWORK], "train": "head", "head": "mlp", "hidden": 256, "width": 1.0,
                 "heads": [128, 192, 256, 384, 512]},
    "student": {"architecture": NETWORK, "train": "head", "head": "mlp", "hidden": 256, "width": 1.0},
    "training": {"optimiser": "adamw", "lr": 1e-3, "epochs": EPOCHS, "batch_size": 128, "length": "steps"},
}  # fmt: skip
"""Heads of the default width, 256 units, and around it."""
PRESET = Path("presets/blood-cells-features.yaml")


def measure(params: Params) -> list[Row]:
    """Return the seconds of a study of 12 students of one seed and their 20 head teachers, features being there.

    `heads`: wide heads; `heads_preset`: those of the preset for blood cells, at its batch and epochs.
    """
    preset = YAML(typ="safe").load(PRESET.read_text(encoding="utf-8"))
    heads = {"heads": WIDE, "heads_preset": {section: preset[section] for section in WIDE}}
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder) / "project"
        copy_project(project, _settings(WIDE))
        (project / "weights").mkdir()
        state = build(NETWORK, num_classes=8).backbone.state_dict()
        save_weights(state, project / "weights" / f"{NETWORK.partition(':')[2]}.safetensors")
        for stage in ("prepare", "split", "noise", "subsets", "features"):
            wall_seconds(project, "python", "-m", "pipeline.stages", stage)
        for name, sections in heads.items():
            text, _ = overlaid(project / PARAMS_FILE, _settings(sections) | _grid(name), "the benchmark's settings")
            write_text(project / PARAMS_FILE, text)
            workers = str(count_cores())
            seconds = wall_seconds(project, "python", "-m", "pipeline.study", "run", name, "--workers", workers)
            target = f"<= {LIMIT:g}"
            rows.append(Row(name, seconds, seconds, seconds, target, seconds <= LIMIT, 1, _what(sections, workers)))
    return rows


def _settings(sections: dict[str, Any]) -> dict[str, Any]:
    return {
        "tracking": {"enabled": False}, "seeds": [0], "data": {"image_size": 32, "phantom": {"images": IMAGES}},
        "split": {"train": 0.6, "val": 0.2, "test": 0.2}, "views": {"count": VIEWS}, "subsets": {"partitions": 3},
        "training": sections["training"],
        **{one: sections[one] | {"weights": "weights"} for one in ("teachers", "student")},
    }  # fmt: skip


def _grid(name: str) -> dict[str, Any]:
    return {"study": {"grids": {name: {"methods": list(METHODS), "vary": [{"subsets.overlap": [0.4]}]}}}}


def _what(sections: dict[str, Any], workers: str) -> str:
    widths, epochs = sections["teachers"]["heads"], sections["training"]["epochs"]
    return (
        f"seconds: 20 head teachers of {min(widths)} to {max(widths)} units, 12 students of "
        f"{sections['student']['hidden']}, {IMAGES:,} images, {epochs} epochs, {workers} workers"
    )
