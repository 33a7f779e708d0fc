"""Some samples at another size than they are prepared in, for a network that was trained at that size."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from models.images import Resize
from pipeline.common.errors import UserError
from pipeline.data.sources import open_source
from pipeline.params.file import with_values
from pipeline.params.tree import Params

BLOCK = 256
"""Images that are in memory at once."""


def decode_again(params: Params, sample_ids: Sequence[str], size: int, resize: Resize) -> Iterator[np.ndarray]:
    """Yield the samples, in order, in blocks of uint8 (B, size, size, channels), decoded from the source.

    Raises UserError where the source cannot be opened or lacks a sample, ImageError or OSError for an image that can no
    longer be read.
    """
    source = open_source(with_values(params, {"data.image_size": size, "data.resize": resize}, "track"))
    row_of = {name: row for row, name in enumerate(source.samples["sample_id"])}
    lost = [name for name in sample_ids if name not in row_of]
    if lost:
        raise UserError(f"data.path is {params.data.path!r}: no longer has sample {lost[0]} ({len(lost)} are missing)")
    with TemporaryDirectory() as scratch:
        reader = source.open_images(Path(scratch))
        for start in range(0, len(sample_ids), BLOCK):
            yield np.stack([reader(row_of[name]) for name in sample_ids[start : start + BLOCK]])
