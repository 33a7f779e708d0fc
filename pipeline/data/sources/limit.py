"""A part of a data set: so many images, in whole groups, with the classes in proportion."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from models.names import Task
from pipeline.common.labels import encode, indicator
from pipeline.common.seeds import stream
from pipeline.data.sources.base import Reader, Sized, Source
from pipeline.data.stratify import deal


@dataclass(frozen=True)
class Part:
    """A reader of some of another reader's images, which may or may not know sizes and files."""

    reader: Any
    rows: np.ndarray

    def __call__(self, i: int) -> np.ndarray:
        return self.reader(int(self.rows[i]))

    def sized(self, i: int) -> Sized:
        """Return the image and its own size, where the reader knows it."""
        row = int(self.rows[i])
        if hasattr(self.reader, "sized"):
            return Sized(*self.reader.sized(row))
        pixels = self.reader(row)
        return Sized(pixels, pixels.shape[:2])

    def state(self, i: int) -> str:
        """Return the state of the image's file, where there is one."""
        return self.reader.state(int(self.rows[i])) if hasattr(self.reader, "state") else ""


def limit(source: Source, count: int, task: Task) -> Source:
    """Return `count` of the source's images, all of them if it has no more.

    Groups stay whole, so the number is exact up to the largest group's size. The choice depends on the labels and
    groups alone, and is the same every time.
    """
    N = len(source.samples)
    if count >= N:
        return source
    targets = encode(source.samples["label"], source.classes, task, origin="data.max_images")
    groups = pd.factorize(source.samples["group_id"])[0]
    labels = indicator(targets, len(source.classes))
    chosen = deal(labels, groups, np.array([count, N - count]), stream(0, "max_images", 0)) == 0
    rows = np.flatnonzero(chosen)
    samples = source.samples.iloc[rows].reset_index(drop=True)
    return replace(source, samples=samples, open_images=partial(_open, source, rows))


def _open(source: Source, rows: np.ndarray, scratch: Path) -> Reader:
    return Part(source.open_images(scratch), rows)
