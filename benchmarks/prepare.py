"""How fast is prepare? Against a bare single-process Pillow loop over the same files, measured turn by turn.

Both decode, resize to the same pixels (squash, bilinear) and end in an array; prepare also starts its workers, hashes
every image, keeps its journal and leaves the array in a file. Images and array stay in the page cache.
"""

import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from benchmarks.rows import Row, ratio_interval
from pipeline.data.array import write_images
from pipeline.data.sources.base import ImageFiles, Source
from pipeline.params.tree import Params
from pipeline.runtime.workers import count_cores, share

REAL = Path("../shared/data/isic2019/ISIC_2019_Training_Input")
IMAGES, WIDTH, HEIGHT = 5984, 600, 450
"""Number and size of the images that stand in where the real ones are not at hand."""
SIZE = 64
ALTERNATIONS = 20
SHARE_OF_CORES = 0.8


def measure(params: Params) -> list[Row]:
    """Return how many times as fast as the bare loop prepare is with one worker per core."""
    cores = count_cores()
    with _images() as (paths, which), tempfile.TemporaryDirectory() as folder:
        names = [path.name for path in paths]
        samples = pd.DataFrame({"sample_id": names, "group_id": names, "label": "A"})
        reader = ImageFiles(paths, SIZE, "squash", 3)
        source = Source(samples, ("A",), 3, lambda scratch: reader)
        array = Path(folder) / "images.npy"

        def prepared() -> None:
            write_images(source, array, SIZE, 0.0, workers=0)

        prepared()
        same = np.mean(
            [np.array_equal(image, of_file) for image, of_file in zip(np.load(array), _bare(paths), strict=True)]
        )
        ratios = []
        for _ in range(ALTERNATIONS):
            array.unlink()
            ours = _seconds(prepared)
            ratios.append(_seconds(lambda: deque(_bare(paths), maxlen=0)) / ours)
    median, low, high = ratio_interval(ratios)
    row = Row(
        name="prepare",
        median=median,
        low=low,
        high=high,
        target=f">= {SHARE_OF_CORES * cores:.1f}",
        met=median >= SHARE_OF_CORES * cores,
        n=len(ratios),
        what=f"speed of prepare with {cores} workers over a bare Pillow loop, {len(paths)} {which}, to {SIZE} px, "
        f"{same:.0%} of the results equal",
    )
    return [row]


def _bare(paths: list[Path]) -> Iterator[np.ndarray]:
    for path in paths:
        yield np.asarray(Image.open(path).convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR))


def _seconds(function: Callable[[], object]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


@contextmanager
def _images() -> Iterator[tuple[list[Path], str]]:
    """The real lesions where they are beside the clone, else as many drawn ones in a temporary folder."""
    if REAL.is_dir():
        yield sorted(REAL.iterdir()), "real lesion JPEGs of 128 x 128 px"
        return
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{i:05d}.jpg" for i in range(IMAGES)]
        list(share(_draw, list(enumerate(paths)), count_cores()))
        yield paths, f"drawn JPEGs of {WIDTH} x {HEIGHT} px, which prepare decodes at a half"


def _draw(task: tuple[int, Path]) -> None:
    seed, path = task
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(60, 220, (9, 12, 3), np.uint8)).resize((WIDTH, HEIGHT))
    fine = rng.integers(-12, 13, (HEIGHT, WIDTH, 1))
    Image.fromarray(np.clip(np.asarray(coarse) + fine, 0, 255).astype(np.uint8)).save(path, quality=90)
