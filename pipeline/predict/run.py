"""Decode in threads, answer in batches, write in order; what is in memory at once does not grow with the images."""

import warnings
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np

from models.pixels import ImageError, Pixels
from models.predictor import BATCH, Predictor
from pipeline.data.sources.base import ImageFiles
from pipeline.predict.model import Model
from pipeline.predict.table import Counts, Table
from pipeline.runtime.progress import Progress

AHEAD = 2
"""Batches that each thread may be ahead of the network."""

Batch = list[tuple[str, Pixels | str]]
"""Paths, each with its pixels, uint8 (S, S, channels), or the reason why it has none."""


def predict(images: Sequence[str], model: Model, out: Path, *, workers: int) -> Counts:
    """Write the table `out` of all images, continuing from an earlier run; returns what was counted.

    Columns: image, label (several findings: findings), one probability for each class, error, model. Raises UserError
    where `out` is another table, OSError where it cannot be written.
    """
    predictor = model.predictor
    label = "label" if predictor.task == "multiclass" else "findings"
    table = Table(out, [label, *(f"probability_{name}" for name in predictor.classes)], model.title)
    with table.writing(images) as writer, Progress("predict", len(images), "image") as progress:
        if writer.counts.rows:
            print(f"predict: continuing from an earlier run, which has {writer.counts.rows:,} images", flush=True)
            progress.advance(writer.counts.rows)
        with closing(decoded(images[writer.counts.rows :], predictor, workers)) as batches:
            for batch in batches:
                writer.rows(_answered(batch, predictor))
                progress.advance(len(batch))
    return writer.counts


def decoded(images: Sequence[str], predictor: Predictor, workers: int) -> Generator[Batch]:
    """Yield the images in batches, in order, decoded by `workers` threads; Pillow decodes without Python's lock."""
    waiting: deque[Future[Batch]] = deque()
    with warnings.catch_warnings(), ThreadPoolExecutor(workers) as pool:
        warnings.simplefilter("ignore")  # about oddities of files that can be read all the same
        try:
            for start in range(0, len(images), BATCH):
                waiting.append(pool.submit(_decode, images[start : start + BATCH], predictor))
                if len(waiting) > AHEAD * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _decode(paths: Sequence[str], predictor: Predictor) -> Batch:
    return [(path, _pixels(path, predictor)) for path in paths]


def _pixels(path: str, predictor: Predictor) -> Pixels | str:
    try:
        return ImageFiles([Path(path)], predictor.image_size, predictor.resize, predictor.channels)(0)
    except ImageError as error:
        return str(error)
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"


def _answered(batch: Batch, predictor: Predictor) -> list[tuple[str, list[str], str]]:
    """The rows of a batch: image, label and probabilities as texts, and the reason where there are none."""
    readable = [pixels for _, pixels in batch if not isinstance(pixels, str)]
    answers = iter(predictor.probabilities(np.stack(readable)) if readable else ())
    rows: list[tuple[str, list[str], str]] = []
    for path, pixels in batch:
        if isinstance(pixels, str):
            rows.append((path, [""] * (1 + len(predictor.classes)), pixels))
        else:
            found = next(answers)
            rows.append((path, [predictor.label(found), *(f"{value:.6f}" for value in found)], ""))
    return rows
