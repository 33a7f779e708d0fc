"""A small prepared project with students that nobody trained, for the tests of the attacks on them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from models.classifier import save_weights
from models.heads import HeadAlone
from models.names import Task
from models.networks import build
from pipeline.common.labels import decode
from pipeline.common.layout import Layout
from pipeline.distillation.methods import METHODS
from pipeline.evaluation.predictions import write_logits
from pipeline.params.tree import Params
from tests.data.made_files import write_prepared, write_split

N, TEST, SIDE, C = 60, 40, 32, 3
CLASSES = ("A", "B", "C")


def write_project(folder: Path, task: Task = "multiclass") -> Layout:
    """Images of two samples a group, prepared and split; the last 40 are the test split."""
    drawn, layout = np.random.default_rng(0), Layout(folder / "artifacts")
    images = drawn.integers(0, 256, (N, SIDE, SIDE, 3), dtype=np.uint8)
    labels = drawn.integers(0, C, N) if task == "multiclass" else (drawn.random((N, C)) < 0.5).astype(np.float32)
    cells = decode(labels, CLASSES)
    write_prepared(layout, CLASSES, cells, images=images, groups=[f"g{i // 2}" for i in range(N)], sha256="d" * 64)
    write_split(layout, np.repeat(["train", "val", "test"], [10, N - TEST - 10, TEST]))
    table = {"sample_id": [f"s{i}" for i in range(N)], "given": cells, "published": cells, "flipped": 0}
    pd.DataFrame(table).to_csv(layout.labels, index=False)
    return layout


def write_students(layout: Layout, params: Params, methods: Sequence[str], seeds: Sequence[int] = (0,)) -> None:
    """Save the weights of each method's student, drawn with its seed, and what it says of the validation split."""
    network = params.student_network
    frozen = network.weights if network.train == "head" else None
    for seed in seeds:
        for place, name in enumerate(methods):
            torch.manual_seed(100 * seed + place)
            method = METHODS[name]
            student = build(network.architecture, num_classes=C, weights=frozen, **network.layers)
            with torch.no_grad():
                for layer in student.head.parameters():
                    layer.mul_(10)  # decisions that differ from image to image
            path = layout.student_weights(seed, method.pool, method.run, method.checkpoint)
            path.parent.mkdir(parents=True, exist_ok=True)
            save_weights((student if frozen is None else HeadAlone(student.head)).state_dict(), path)
            logits = np.random.default_rng(place).normal(size=(N - TEST - 10, C)).astype(np.float32)
            answers = {"val": logits}
            write_logits(layout.student_predictions(seed, method.pool, method.run), {method.checkpoint: answers})
