"""Decoding: literal pixels for every format; DICOM, squares and the memory of large images have files of their own."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, JpegImagePlugin, TiffImagePlugin

from models import jpeg
from models.images import decode, load, load_sized, to_square
from models.jpeg import count_scans
from models.pixels import MAX_PIXELS, ImageError
from tests.models.encoding import colour, encoded, grey


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF"])
def test_lossless_formats_keep_every_pixel(format):
    assert decode(encoded(grey(), format)).tolist() == grey()[:, :, None].tolist()
    assert decode(encoded(colour(), format)).tolist() == colour().tolist()


def test_jpeg():
    flat = np.full((16, 16, 3), (200, 100, 50), np.uint8)
    image = decode(encoded(flat, "JPEG", quality=95))
    assert image.shape == (16, 16, 3)
    assert np.abs(image.astype(int) - flat).max() <= 2
    assert decode(encoded(np.full((16, 16), 77, np.uint8), "JPEG")).tolist() == np.full((16, 16, 1), 77).tolist()


def test_cmyk_jpeg():
    flat = np.full((16, 16, 3), (200, 100, 50), np.uint8)
    image = decode(encoded(flat, "JPEG", mode="CMYK", quality=95))
    assert image.shape == (16, 16, 3)
    assert np.abs(image.astype(int) - flat).max() <= 3


def test_palette_and_bilevel():
    palette = Image.fromarray(colour()).convert("P", palette=Image.Palette.ADAPTIVE, colors=6)
    for format in ("PNG", "BMP", "TIFF"):
        assert decode(encoded(palette, format)).tolist() == colour().tolist()
    assert decode(encoded(np.array([[0, 255]], np.uint8), mode="1")).tolist() == [[[0], [255]]]


SIXTEEN = np.array([[0x0000, 0x00FF, 0x0100], [0x7FFF, 0x8000, 0xFFFF]], np.uint16)
HIGH_BYTES = [[0x00, 0x00, 0x01], [0x7F, 0x80, 0xFF]]


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_sixteen_bits_keep_the_high_byte(format):
    assert decode(encoded(SIXTEEN, format))[:, :, 0].tolist() == HIGH_BYTES


def test_sixteen_bit_big_endian_tiff():
    stream = io.BytesIO()
    Image.frombytes("I;16B", (3, 2), SIXTEEN.astype(">u2").tobytes()).save(stream, "TIFF")
    assert decode(stream.getvalue())[:, :, 0].tolist() == HIGH_BYTES


def test_sixteen_bit_colour_png_keeps_the_high_byte():
    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    row = b"\x00" + struct.pack(">3H", 0x12FF, 0xABCD, 0x0080)
    header = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(row)) + chunk(b"IEND", b"")
    assert decode(content).tolist() == [[[0x12, 0xAB, 0x00]]]


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_pixels_without_a_range_are_refused(dtype):
    with pytest.raises(ImageError, match="32-bit or floating-point"):
        decode(encoded(grey(dtype), "TIFF"))


@pytest.mark.parametrize(("alpha", "expected"), [(255, [200, 100, 50]), (0, [0, 0, 0]), (128, [100, 50, 25])])
def test_transparency_lies_over_black(alpha, expected):
    assert decode(encoded(np.array([[[200, 100, 50, alpha]]], np.uint8))).tolist() == [[expected]]
    assert decode(encoded(np.array([[[200, alpha]]], np.uint8))).tolist() == [[expected[:1]]]


def test_transparent_colour_of_a_palette_or_a_key():
    palette = Image.fromarray(colour()).convert("P", palette=Image.Palette.ADAPTIVE, colors=6)
    index = palette.getpixel((0, 0))
    assert decode(encoded(palette, transparency=index))[0].tolist() == [[0, 0, 0], [0, 255, 0], [0, 0, 255]]
    assert decode(encoded(colour(), transparency=(0, 255, 0)))[0].tolist() == [[255, 0, 0], [0, 0, 0], [0, 0, 255]]
    assert decode(encoded(grey(), transparency=250))[1, :, 0].tolist() == [150, 200, 0]


UPRIGHT = [[0, 50, 100], [150, 200, 250]]


@pytest.mark.parametrize(
    ("orientation", "expected"),
    [
        (1, UPRIGHT),
        (2, [[100, 50, 0], [250, 200, 150]]),
        (3, [[250, 200, 150], [100, 50, 0]]),
        (4, [[150, 200, 250], [0, 50, 100]]),
        (5, [[0, 150], [50, 200], [100, 250]]),
        (6, [[150, 0], [200, 50], [250, 100]]),
        (7, [[250, 100], [200, 50], [150, 0]]),
        (8, [[100, 250], [50, 200], [0, 150]]),
        (9, UPRIGHT),
    ],
)
@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_orientation_is_applied_once(format, orientation, expected):
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert decode(encoded(grey(), format, exif=exif))[:, :, 0].tolist() == expected


def test_orientation_of_a_jpeg():
    wide = np.repeat(np.array([[0] * 16 + [255] * 16], np.uint8), 16, axis=0)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: what is stored at the left stands at the top
    image = decode(encoded(wide, "JPEG", exif=exif))
    assert image.shape == (32, 16, 1)
    assert image[4, 8, 0] < 5
    assert image[28, 8, 0] > 250


def test_orientation_of_a_jpeg_may_stand_in_xmp_alone():
    wide = np.repeat(np.array([[0] * 16 + [255] * 16], np.uint8), 16, axis=0)
    image = decode(encoded(wide, "JPEG", xmp=b'<rdf:Description tiff:Orientation="6"/>'))
    assert image.shape == (32, 16, 1)
    assert image[4, 8, 0] < 5
    assert image[28, 8, 0] > 250


def test_damaged_exif_is_ignored():
    assert decode(encoded(np.full((8, 8), 9, np.uint8), "JPEG", exif=b"Exif\x00\x00junk"))[0, 0, 0] == 9


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"sample_id,label\n1,NV\n", "not an image file; JPEG, PNG, TIFF, BMP and DICOM can be read"),
        (encoded(np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8))[:2000], "cut off"),
        (encoded(np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8), "JPEG")[:1500], "cut off"),
        (encoded(np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8), "TIFF")[:1500], "an image"),
    ],
)
def test_what_cannot_be_read_says_why(content, message):
    with pytest.raises(ImageError, match=message):
        decode(content)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_every_cut_of_a_file_is_an_image_error_or_an_image():
    for content in (encoded(grey()), encoded(grey(), "TIFF"), encoded(grey(), "BMP")):
        for end in range(0, len(content), 7):
            try:
                image = decode(content[:end])
            except ImageError:
                continue
            assert image.shape == (2, 3, 1)


@pytest.mark.parametrize("side", [8001, 20000])
def test_decompression_bomb_is_refused_before_decoding(side):
    """A small file that claims a huge image: 8001 is beyond our limit, 20000 beyond Pillow's own."""
    content = bytearray(encoded(grey()))
    content[16:24] = struct.pack(">II", side, side)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    assert side * side > MAX_PIXELS
    with pytest.raises(ImageError, match="more than the 64,000,000"):
        decode(bytes(content))


def test_pages_are_refused():
    stream = io.BytesIO()
    page = Image.fromarray(grey())
    page.save(stream, "TIFF", save_all=True, append_images=[page, page])
    with pytest.raises(ImageError, match="holds several pages"):
        decode(stream.getvalue())


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("resize", ["crop", "pad", "squash"])
def test_load(resize, channels):
    image = load(encoded(np.full((30, 50, 3), 90, np.uint8)), size=32, resize=resize, channels=channels)
    assert image.shape == (32, 32, channels)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    assert (image[16] == 90).all()


def test_big_jpegs_are_decoded_smaller_but_look_the_same():
    y, x = np.mgrid[0:600, 0:800]
    picture = np.stack([x * 255 // 800, y * 255 // 600, (x + y) * 255 // 1400], axis=2).astype(np.uint8)
    content = encoded(picture, "JPEG", quality=95)
    assert decode(content, at_least=64).shape == (75, 100, 3)
    assert decode(content, at_least=160).shape == (300, 400, 3)
    assert decode(content, at_least=601).shape == (600, 800, 3)
    quick = load(content, size=32, resize="crop", channels=3)
    full = to_square(decode(content), 32, "crop")
    assert np.abs(quick.astype(int) - full).max() <= 3


@pytest.mark.parametrize(("orientation", "stored"), [(1, (600, 800)), (3, (600, 800)), (6, (800, 600))])
@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_the_stored_size_is_reported_though_a_jpeg_is_decoded_smaller(format, orientation, stored):
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(np.zeros((600, 800), np.uint8), format, exif=exif)
    image, size = load_sized(content, size=32, resize="crop", channels=1)
    assert (image.shape, size) == ((32, 32, 1), stored)


def test_a_square_jpeg_is_what_a_bare_pillow_loop_makes_of_it():
    content = encoded(np.random.default_rng(0).integers(0, 256, (100, 100, 3), np.uint8), "JPEG")
    bare = Image.open(io.BytesIO(content)).convert("RGB").resize((64, 64), Image.Resampling.BILINEAR)
    assert np.array_equal(load(content, size=64, resize="crop", channels=3), np.asarray(bare))


def test_pages_are_not_counted_when_there_is_a_second_one(monkeypatch):
    stream = io.BytesIO()
    page = Image.new("L", (4, 4))
    page.save(stream, "TIFF", save_all=True, append_images=[page] * 3)
    with monkeypatch.context() as patch:
        patch.setattr(TiffImagePlugin.TiffImageFile, "n_frames", property(lambda _: pytest.fail("counts all pages")))
        with pytest.raises(ImageError, match="holds several pages"):
            decode(stream.getvalue())
    single = io.BytesIO()
    Image.new("L", (4, 3), 7).save(single, "TIFF")
    assert decode(single.getvalue()).tolist() == [[[7]] * 4] * 3


@pytest.mark.parametrize(
    ("repeated", "side", "allowed"), [(120, 64, 100), (11, 1000, 10)], ids=["very many", "of many pixels"]
)
def test_a_jpeg_of_too_many_scans_is_refused_before_it_is_decoded(repeated, side, allowed, monkeypatch):
    monkeypatch.setattr(jpeg, "MAX_SCANNED", 10_000_000)
    content = encoded(Image.new("L", (side, side), 9), "JPEG", progressive=True)
    assert decode(content).shape == (side, side, 1)
    start = content.index(b"\xff\xda")
    monkeypatch.setattr(JpegImagePlugin.JpegImageFile, "load", lambda _: pytest.fail("decodes it"))
    scans = 1 + repeated * content.count(b"\xff\xda", start)
    with pytest.raises(ImageError, match=rf"has \d+ scans of {side**2:,} pixels.* at most {allowed} are allowed"):
        decode(content[:start] + content[start:-2] * scans + content[-2:])


def test_the_scans_of_a_thumbnail_and_what_follows_the_image_do_not_count():
    plain = encoded(Image.new("RGB", (64, 64), (9, 99, 200)), "JPEG")
    progressive = encoded(Image.new("RGB", (64, 64), (9, 99, 200)), "JPEG", progressive=True)
    noise = encoded(Image.fromarray(np.random.default_rng(0).integers(0, 256, (99, 99, 3), np.uint8)), "JPEG")
    assert count_scans(plain) == count_scans(noise) == 1
    assert count_scans(plain + b"\xff\xda" * 500) == 1  # as phones append a film
    assert 5 < count_scans(progressive) < 15
    segment = b"\xff\xe1" + (len(progressive) + 2).to_bytes(2) + progressive
    assert count_scans(plain[:2] + segment + plain[2:]) == 1
    assert decode(plain[:2] + segment + plain[2:] + b"\xff\xda" * 500).shape == (64, 64, 3)
    assert count_scans(plain[:40]) == 0
    assert count_scans(b"") == 0
