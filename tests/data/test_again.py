"""Samples at another size are what `prepare` would have made at that size."""

import numpy as np
import pytest

from pipeline.common.errors import UserError
from pipeline.data import again
from pipeline.data.again import decode_again
from pipeline.data.sources import open_source

IMAGES = {"source": "phantom", "image_size": 32, "phantom": {"images": 64, "seed": 0}}


def test_samples_come_in_the_order_asked_for_at_the_size_asked_for(make_params, tmp_path, monkeypatch):
    monkeypatch.setattr(again, "BLOCK", 2)
    params = make_params(data=IMAGES)
    source = open_source(make_params(data=IMAGES | {"image_size": 48, "resize": "pad"}))
    reader, rows = source.open_images(tmp_path), [5, 0, 63]
    names = [source.samples["sample_id"].iloc[row] for row in rows]
    blocks = list(decode_again(params, names, 48, "pad"))
    assert [block.shape for block in blocks] == [(2, 48, 48, 3), (1, 48, 48, 3)]
    np.testing.assert_array_equal(np.concatenate(blocks), np.stack([reader(row) for row in rows]))


def test_samples_that_have_gone_are_named(make_params):
    with pytest.raises(UserError, match=r"no longer has sample lost \(1 are missing\)"):
        next(decode_again(make_params(data=IMAGES), ["lost"], 32, "crop"))
