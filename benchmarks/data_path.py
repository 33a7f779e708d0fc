"""What do reading, views and the loop cost? An epoch on prepared images against its steps on ready float tensors."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from benchmarks.rows import Row, at_most, reported
from benchmarks.timing import alternate
from benchmarks.trainings import (
    BATCH,
    ROSKD,
    SIZE,
    objective,
    processor,
    scaled,
    training,
    training_set,
    waiter,
)
from models.inference import to_device, to_pixels
from pipeline.data.array import write_images
from pipeline.data.sources import open_source
from pipeline.distillation.objective import Batch
from pipeline.params.tree import Params
from pipeline.training.device import pick_device
from pipeline.training.feed import epoch_batches

REAL = Path("../shared/data/isic2019")
STEPS_ON_CPU, STEPS_ON_GPU = 16, 90
LIMIT_ON_CPU, LIMIT_ON_GPU = 1.15, 1.10


def measure(params: Params) -> list[Row]:
    """Return the time of an epoch with flip_crop views, and with the lesion preset, over that of the bare steps."""
    device = pick_device("auto")
    with tempfile.TemporaryDirectory() as folder:
        images, which = _prepared(params, Path(folder) / "images.npy")
        count = min(scaled(device, STEPS_ON_CPU, STEPS_ON_GPU), len(images) // BATCH) * BATCH
        rows = np.sort(np.random.default_rng(0).permutation(len(images))[:count])
        plain = objective(ROSKD, None, count, device)
        actions: dict[str, Callable[[], object]] = {
            preset: training(params, training_set(images, device, rows, preset=preset), plain, device).run_epoch
            for preset in ("flip_crop", "lesion")
        }
        actions["bare"] = _bare_steps(params, images, rows, device)
        seconds = alternate(actions, waiter(device))
    limit = LIMIT_ON_GPU if device.type == "cuda" else LIMIT_ON_CPU
    what = (
        f"views, {count} {which} from a memory map, over the same steps on float tensors on the device; {SIZE} px, "
        f"batch {BATCH}, {processor(device)}"
    )
    return [
        at_most("data_path", seconds["flip_crop"] / seconds["bare"], limit, f"epoch with flip_crop {what}"),
        reported("data_path_lesion", seconds["lesion"] / seconds["bare"], f"epoch with lesion {what}"),
    ]


def _prepared(params: Params, path: Path) -> tuple[np.ndarray, str]:
    """The prepared array as the stages see it: the real lesions where they are beside the clone, else the phantom."""
    real = {"source": "isic2019", "path": str(REAL)}
    phantom = {"source": "phantom", "path": "pipeline/data/phantom.py"}
    chosen = real if REAL.is_dir() else phantom
    data = params.data.model_copy(update={**chosen, "image_size": SIZE})
    write_images(open_source(params.model_copy(update={"task": "multiclass", "data": data})), path, SIZE, 0.0)
    which = "real lesions" if REAL.is_dir() else "generated lesions"
    return np.load(path, mmap_mode="r"), which


def _bare_steps(params: Params, images: np.ndarray, rows: np.ndarray, device: torch.device) -> Callable[[], None]:
    """The steps of an epoch on batches that are there: the same number, sizes and network."""
    data = training_set(images, device, rows, preset="none")
    trained = training(params, data, objective(ROSKD, None, len(rows), device), device)
    trained.model.train()
    batches = []
    for step, index in enumerate(epoch_batches(len(rows), BATCH, 0, 0)):
        place = to_device(index, device)
        pixels = to_pixels(to_device(images[rows[index]], device))
        batches.append(Batch(pixels, data.targets[place], place, 0, step, 0))

    def steps() -> None:
        for batch in batches:
            trained._step(batch, 1.0)

    return steps
