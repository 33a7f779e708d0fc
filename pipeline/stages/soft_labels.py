"""Stages `soft_labels_full` and `soft_labels_subset`: all teachers of a pool answer every view once."""

from collections.abc import Sequence
from pathlib import Path

from models.classifier import load_weights
from models.networks import build
from pipeline.common import layout as artifacts
from pipeline.common.files import replace_folder
from pipeline.common.layout import Pool
from pipeline.data.prepared import Prepared, load_prepared, read_data_hash
from pipeline.data.views import Views
from pipeline.distillation.soft_labels import Origin, is_written, origin_of, write_soft_labels
from pipeline.params.tree import Params
from pipeline.recipes.resume_folder import ResumeFolder
from pipeline.training.device import pick_device
from pipeline.training.feed import open_images
from pipeline.training.world import World, local_rank


def run(params: Params, seed: int, pool: Pool) -> None:
    """Write each teacher's logits, float16 (V + 1, N, C); they are put in place together once all are done.

    Several processes share the teachers out among them.
    """
    prepared, device = load_prepared(params.task), pick_device(params.training.device, local_rank())
    world = World(device)
    images = open_images(prepared.images, prepared.rows("train"), device, params.training.data_on_device)
    views, rows = Views(params.views, len(prepared.images)), prepared.rows("train")
    architectures = params.teachers.architectures
    wanted = origins(params, seed, pool, prepared, architectures)
    folder = ResumeFolder(f"soft_labels_{pool}-{seed}", wanted, clears=world.leads)
    for architecture, origin in list(zip(architectures, wanted, strict=True))[world.rank :: world.size]:
        path = folder.path / pool / artifacts.soft_labels(seed, pool, architecture).name
        if not is_written(path, origin):
            teacher = build(architecture, num_classes=len(prepared.classes), stem=params.teachers.stem).to(device)
            load_weights(teacher, artifacts.teacher_weights(seed, pool, architecture))
            write_soft_labels(path, origin, teacher, images, rows, views, device)
        print(f"soft labels: {architecture} ({pool}), seed {seed}: {views.count} views and the clean one", flush=True)
    world.wait()
    if world.leads:
        replace_folder(folder.path / pool, artifacts.SOFT_LABELS / str(seed) / pool)
        folder.remove()


def origins(params: Params, seed: int, pool: Pool, prepared: Prepared, teachers: Sequence[str]) -> list[Origin]:
    """What the stored answers of each teacher must have been made from."""
    data_hash, rows = read_data_hash(), prepared.rows("train")
    weights: list[Path] = [artifacts.teacher_weights(seed, pool, name) for name in teachers]
    return [origin_of(path, data_hash, rows, params.views) for path in weights]
