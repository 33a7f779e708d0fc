"""The embedded data set: generated lesion-like and chest-film-like images."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from models.names import Task
from pipeline.common.errors import UserError
from pipeline.common.labels import SEPARATOR
from pipeline.data import phantom
from pipeline.data.sources.base import Source
from pipeline.params.data import DataParams


@dataclass(frozen=True)
class PhantomImages:
    """A reader that draws the images."""

    task: Task
    labels: list[tuple[str, ...]]
    groups: list[str]
    size: int
    seed: int

    def __call__(self, i: int) -> np.ndarray:
        return phantom.render(self.task, i, self.labels[i], self.groups[i], self.size, self.seed)


def open_phantom(task: Task, params: DataParams) -> Source:
    """Open the generated data set of `params.phantom.images` images."""
    generator = Path(params.path)
    if not generator.is_file():
        raise UserError(
            f"data.path is {params.path!r}: no such file; for source phantom it is pipeline/data/phantom.py"
        )
    seed = params.phantom.seed
    labels, groups = phantom.labels(task, params.phantom.images, seed)
    samples = pd.DataFrame(
        {
            "sample_id": [f"phantom_{i:06d}" for i in range(len(labels))],
            "group_id": groups,
            "label": [SEPARATOR.join(names) for names in labels],
        }
    )

    return Source(
        samples=samples,
        classes=phantom.CLASSES[task],
        channels=3 if task == "multiclass" else 1,
        open_images=lambda scratch: PhantomImages(task, labels, groups, params.image_size, seed),
        tables=(generator,),
    )
