"""Squares and channels of decoded images: literal pixels for every rule."""

import numpy as np
import pytest

from models.images import to_channels, to_square
from tests.models.encoding import colour, grey


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("crop", [[10, 20], [60, 70]]),
        ("pad", [[0, 0, 0, 0], [10, 10, 20, 20], [60, 60, 70, 70], [0, 0, 0, 0]]),
    ],
)
def test_squares_of_a_wide_image(mode, expected):
    if mode == "crop":  # 2 x 4: the middle columns
        image = np.array([[0, 10, 20, 30], [50, 60, 70, 80]], np.uint8)
    else:  # 2 x 4 in 4 x 4: bars above and below
        image = np.array([[10, 10, 20, 20], [60, 60, 70, 70]], np.uint8)
    assert to_square(image[:, :, None], len(expected), mode)[:, :, 0].tolist() == expected


def test_pad_keeps_tall_images_and_squash_does_not():
    tall = np.full((40, 10, 3), 200, np.uint8)
    padded = to_square(tall, 20, "pad")
    assert padded[:, :, 0].tolist() == [[0] * 7 + [200] * 5 + [0] * 8] * 20  # 10 / 40 of 20, after (20 - 5) // 2
    assert to_square(tall, 20, "squash").tolist() == np.full((20, 20, 3), 200).tolist()
    assert to_square(np.full((1, 999, 1), 7, np.uint8), 8, "pad")[:, 0, 0].tolist() == [0, 0, 0, 7, 0, 0, 0, 0]


def test_shrinking_averages():
    """One-pixel stripes become their mean: without antialiasing they would become black or white."""
    stripes = np.tile(np.array([0, 255], np.uint8), (64, 32))[:, :, None]
    small = to_square(stripes, 8, "squash")
    assert small.shape == (8, 8, 1)
    assert np.abs(small[:, 1:-1].astype(int) - 128).max() <= 4


def test_same_size_is_untouched():
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    for mode in ("crop", "pad", "squash"):
        assert np.array_equal(to_square(image, 32, mode), image)


def test_unknown_choices():
    with pytest.raises(ValueError, match="resize is 'stretch'; known are crop, pad, squash"):
        to_square(np.zeros((2, 2, 1), np.uint8), 2, "stretch")
    with pytest.raises(ValueError, match=r"channels is 4; 1 \(grey\) and 3 \(RGB\)"):
        to_channels(np.zeros((2, 2, 1), np.uint8), 4)


def test_channels():
    assert to_channels(colour(), 1)[:, :, 0].tolist() == [[76, 150, 29], [255, 0, 128]]
    assert to_channels(grey()[:, :, None], 3)[0].tolist() == [[0] * 3, [50] * 3, [100] * 3]
    every_grey = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    assert to_channels(every_grey, 1)[0, :, 0].tolist() == list(range(256))
