"""A folder of odd files: each is prepared correctly, checked by pixel, or quarantined with its reason."""

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipeline.data.array import decode_images, quarantined, readable_array
from pipeline.data.sources.base import ImageFiles, Source
from tests.models.encoding import dicom, encoded

SIZE = 8
LEFT_RIGHT = np.repeat(np.array([[40] * 16 + [200] * 16], np.uint8), 32, axis=0)
"""32 x 32, dark at the left, bright at the right: in 8 x 8 four columns of each (40 and 200 but for the seam)."""
SEAM = [40, 40, 40, 60, 180, 200, 200, 200]
"""One row of LEFT_RIGHT at 8 pixels: the bilinear filter reaches over the seam."""


def rows(row: list[int], channels: int = 3) -> list:
    """A square of equal rows."""
    return np.repeat(np.repeat(np.array([row], np.uint8), len(row), axis=0)[:, :, None], channels, axis=2).tolist()


def colours() -> Image.Image:
    """Left half red, right half blue, 16 x 16."""
    return Image.fromarray(np.array([[[255, 0, 0]] * 8 + [[0, 0, 255]] * 8] * 16, np.uint8))


def turned(content_mode: str) -> bytes:
    """LEFT_RIGHT as a camera held upright stores it: its left stands at the top."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(LEFT_RIGHT, "JPEG", mode=content_mode, quality=95, exif=exif)


def claims_to_be(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header claims a size."""
    content = bytearray(encoded(LEFT_RIGHT))
    content[16:24] = struct.pack(">II", width, height)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    return bytes(content)


def wide() -> bytes:
    """20,000 x 16 pixels, black but for the 40 in the middle, which are white."""
    image = np.zeros((16, 20_000), np.uint8)
    image[:, 9_980:10_020] = 255
    return encoded(image)


def noise_jpeg() -> bytes:
    return encoded(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8), "JPEG", quality=90)


SIXTEEN_BITS = LEFT_RIGHT.astype(np.uint16) * 256 + 255
RED_BLUE = [[255, 0, 0]] * 3 + [[223, 0, 32], [32, 0, 223]] + [[0, 0, 255]] * 3

READABLE = {
    "sixteen bits.png": (encoded(SIXTEEN_BITS), rows(SEAM), (32, 32)),
    "palette.png": (
        encoded(colours().convert("P", palette=Image.Palette.ADAPTIVE, colors=2)),
        [RED_BLUE] * 8,
        (16, 16),
    ),
    "cmyk.jpg": (encoded(np.full((16, 24), 90, np.uint8), "JPEG", mode="CMYK", quality=95), rows([90] * 8), (16, 24)),
    "turned.jpg": (turned("RGB"), np.swapaxes(rows(SEAM), 0, 1).tolist(), (32, 32)),
    "monochrome1.dcm": (dicom(255 - LEFT_RIGHT, PhotometricInterpretation="MONOCHROME1"), rows(SEAM), (32, 32)),
    "one pixel.png": (encoded(np.array([[77]], np.uint8)), rows([77] * 8), (1, 1)),
    "wide.png": (wide(), rows([255] * 8), (16, 20_000)),
    "Ödem links/größe µ 图像.png": (encoded(LEFT_RIGHT), rows(SEAM), (32, 32)),
}
"""File: its bytes, the pixels expected at 8 x 8, its height and width."""

BROKEN = {
    "cut off.jpg": (noise_jpeg()[:1500], "cannot be decoded as an image; it may be damaged or cut off"),
    "empty.png": (b"", "the file is empty"),
    "text.png": (b"image,label\n1,NV\n", "not an image file; JPEG, PNG, TIFF, BMP and DICOM can be read"),
    "bomb.png": (claims_to_be(20_000, 20_000), "has far more than the 64,000,000 pixels allowed; shrink it first"),
    "large.png": (claims_to_be(20_000, 3_300), "has 20000 x 3300 pixels, more than the 64,000,000 allowed"),
    "gone.png": (None, "cannot be read: No such file or directory"),
    "huge.bmp": (2**29 + 1, "has 536,870,913 bytes, more than the 536,870,912 allowed"),
}
"""File: its bytes, or its length where they do not matter; how the reason begins."""


@pytest.fixture
def folder(tmp_path) -> Path:
    for name, (content, *_) in {**READABLE, **BROKEN}.items():
        path = tmp_path / "odd files" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif content is not None:
            with path.open("wb") as stream:
                os.truncate(stream.fileno(), content)
    return tmp_path / "odd files"


@pytest.mark.parametrize("workers", [1, 2])
def test_odd_files_are_prepared_or_quarantined(folder, tmp_path, workers, monkeypatch):
    monkeypatch.setattr("pipeline.data.array.CHUNK_IMAGES", (4, 4))
    names = [*READABLE, *BROKEN]
    images = ImageFiles([folder / name for name in names], SIZE, "crop", 3)
    samples = pd.DataFrame({"sample_id": names, "group_id": names, "label": "A"})
    source = Source(samples, ("A",), 3, lambda scratch: images)
    (tmp_path / "work").mkdir()
    decoded = decode_images(source, tmp_path / "work", SIZE, workers=workers)

    reasons = quarantined(decoded, source)
    assert list(reasons) == list(BROKEN)
    for name, (_, reason) in BROKEN.items():
        assert reasons[name].startswith(reason), name
    prepared = np.load(readable_array(decoded))
    for place, (name, (_, pixels, size)) in enumerate(READABLE.items()):
        tolerance = 3 if name.endswith("jpg") else 0
        assert np.abs(prepared[place].astype(int) - pixels).max() <= tolerance, (name, prepared[place][0].tolist())
        assert tuple(decoded.sizes[place]) == size, name


def test_a_worker_that_reads_odd_files_is_silent(folder, tmp_path, capfd):
    """Pillow warns of every image beyond 89 million pixels, and of odd EXIF blocks."""
    path = folder / "warned.png"
    path.write_bytes(claims_to_be(10_000, 9_000))
    images = ImageFiles([path, folder / "wide.png"], SIZE, "crop", 3)
    samples = pd.DataFrame({"sample_id": ["warned", "wide"], "group_id": ["a", "b"], "label": "A"})
    (tmp_path / "work").mkdir()
    decoded = decode_images(Source(samples, ("A",), 3, lambda scratch: images), tmp_path / "work", SIZE, workers=1)
    assert list(decoded.bad) == [0]
    assert capfd.readouterr() == ("", "")
