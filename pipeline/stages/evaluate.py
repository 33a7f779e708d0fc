"""Stage `evaluate`: every student's and teacher's figures on validation and test, and how sure the differences are."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from models.classifier import Classifier, load_weights
from models.inference import predict
from models.names import Architecture
from models.networks import build
from pipeline.common import layout as artifacts
from pipeline.common.files import atomic
from pipeline.common.layout import Checkpoint, Pool
from pipeline.common.seeds import stream
from pipeline.data.prepared import Prepared, load_prepared
from pipeline.distillation.methods import ROSKD, ROSKD_RUN, RUNS, SHARES, reported_checkpoint
from pipeline.evaluation.bootstrap import METRICS, draw_kinds
from pipeline.evaluation.comparisons import bootstrap_interval, compare
from pipeline.evaluation.predictions import CHECKPOINTS, EVALUATED, Logits, Row, figures_of, resampled
from pipeline.params.tree import Params, StudentParams, TeacherParams
from pipeline.training.device import pick_device
from pipeline.training.feed import open_images

POOLS: tuple[Pool, ...] = ("full", "subset")
COMPARED = (
    [(ROSKD, name) for name in RUNS],
    SHARES,
)
"""Two families: RoS-KD against every other method, and the ingredients' own shares that are not among those."""

Students = dict[tuple[str, Checkpoint], dict[int, Logits]]
"""What each method's checkpoint answered, by seed."""


class Networks:
    """Loads networks one after another and lets them answer the evaluated splits."""

    def __init__(self, params: Params, prepared: Prepared) -> None:
        self._prepared = prepared
        self._device = pick_device(params.training.device)
        self._rows = {split: prepared.rows(split) for split in EVALUATED}
        rows = np.concatenate(list(self._rows.values()))
        self._images = open_images(prepared.images, rows, self._device, params.training.data_on_device)

    def answers(self, architecture: Architecture, section: TeacherParams | StudentParams, weights: Path) -> Logits:
        """The logits of the network whose weights lie in `weights`."""
        model: Classifier = build(architecture, num_classes=len(self._prepared.classes), stem=section.stem)
        load_weights(model, weights)
        model = model.to(self._device)
        return {split: predict(model, self._images, self._rows[split], self._device) for split in EVALUATED}


def run(params: Params) -> None:
    """Write predictions, metrics/students.csv, teachers.csv, comparisons.csv and intervals.csv."""
    prepared = load_prepared(params.task)
    networks = Networks(params, prepared)
    students: Students = {}
    for seed in params.seeds:
        for name in RUNS:
            for checkpoint in CHECKPOINTS:
                weights = artifacts.student_weights(seed, name, checkpoint)
                logits = networks.answers(params.student.architecture, params.student, weights)
                students.setdefault((name, checkpoint), {})[seed] = logits
    students[ROSKD, "smoothed"] = students[ROSKD_RUN, "smoothed"]
    _write_predictions(prepared, students)
    _write_csv(artifacts.STUDENT_METRICS, _student_rows(prepared, students))
    _write_csv(artifacts.TEACHER_METRICS, _teacher_rows(params, prepared, networks))
    _write_statistics(params, prepared, students)


def _student_rows(prepared: Prepared, students: Students) -> list[Row]:
    return [
        {"seed": seed, "method": method, "checkpoint": checkpoint} | row
        for (method, checkpoint), by_seed in students.items()
        for seed, logits in by_seed.items()
        for row in figures_of(prepared, logits)
    ]


def _teacher_rows(params: Params, prepared: Prepared, networks: Networks) -> list[Row]:
    return [
        {"seed": seed, "pool": pool, "architecture": name} | row
        for seed in params.seeds
        for pool in POOLS
        for name in params.teachers.architectures
        for row in figures_of(
            prepared, networks.answers(name, params.teachers, artifacts.teacher_weights(seed, pool, name))
        )
    ]


def _write_predictions(prepared: Prepared, students: Students) -> None:
    for (method, checkpoint), by_seed in students.items():
        for seed, logits in by_seed.items():
            arrays = {}
            for split in EVALUATED:
                arrays[f"{split}_sample_ids"] = prepared.sample_ids[prepared.rows(split)]
                arrays[f"{split}_targets"] = prepared.targets(split)
                arrays[f"{split}_logits"] = logits[split]
            with atomic(artifacts.predictions(seed, method, checkpoint)) as temporary:
                np.savez(temporary, **arrays)


def _write_statistics(params: Params, prepared: Prepared, students: Students) -> None:
    """The families of comparisons, from five seeds on with seeds resampled too, and each method's interval."""
    test = prepared.rows("test")
    kinds = draw_kinds(prepared.groups[test], len(params.seeds), stream(params.split.seed, "bootstrap", 0))
    fixed = kinds[0]
    figures = {
        key: resampled(prepared, [by_seed[seed] for seed in params.seeds], fixed) for key, by_seed in students.items()
    }
    main = {method: figures[method, reported_checkpoint(method)] for method in (*RUNS, ROSKD)}
    _write_csv(
        artifacts.COMPARISONS,
        [row for draws in kinds for family in COMPARED for row in compare(main, family, draws)],
    )
    _write_csv(
        artifacts.INTERVALS,
        [
            {"method": method, "checkpoint": checkpoint, "metric": metric}
            | asdict(bootstrap_interval(values[metric], fixed))
            for (method, checkpoint), values in figures.items()
            for metric in METRICS
        ],
    )


def _write_csv(path: Path, rows: list[Row]) -> None:
    with atomic(path) as temporary:
        pd.DataFrame(rows).to_csv(temporary, index=False)
