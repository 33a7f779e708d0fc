"""Stages `soft_labels_full` and `soft_labels_subset`: all teachers of a pool answer every view once."""

from models.classifier import load_weights
from models.registry import build
from pipeline import artifacts
from pipeline.artifacts import Pool
from pipeline.data.prepared import load_prepared
from pipeline.data.views import Views
from pipeline.distillation.soft_labels import write_soft_labels
from pipeline.params import Params
from pipeline.training.device import pick_device


def run(params: Params, seed: int, pool: Pool) -> None:
    """Write each teacher's logits, float16 (V + 1, N, C)."""
    prepared, device = load_prepared(params.task), pick_device(params.training.device)
    views = Views(params.views, len(prepared.images))
    for architecture in params.teachers.architectures:
        teacher = build(architecture, num_classes=len(prepared.classes), stem=params.teachers.stem).to(device)
        load_weights(teacher, artifacts.teacher_weights(seed, pool, architecture))
        path = artifacts.soft_labels(seed, pool, architecture)
        write_soft_labels(path, teacher, prepared.images, prepared.rows("train"), views, device)
        print(f"soft labels: {architecture} ({pool}), seed {seed}: {views.count} views and the clean one", flush=True)
