"""DICOM: windows, tables, signs and directions become the eight bits that a viewer shows."""

import struct

import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEGBaseline8Bit, JPEGLSLossless

from models.images import decode, load_sized
from models.pixels import ImageError
from tests.models.encoding import GREY, colour, dicom, encoded, grey

JPEG_LS = dicom(grey(), syntax=JPEGLSLossless, PixelData=encapsulate([b"not decoded"]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x00" * 128 + b"DICM" + b"junk", "DICOM"),
        (dicom(grey())[:-4], "cannot be decoded as DICOM"),
        (dicom(grey(), PixelData=None), "without integer pixel data"),
        (dicom(grey(), NumberOfFrames=2, PixelData=grey().tobytes() * 2), "holds 2 frames"),
        (dicom(grey(), Rows=30000, Columns=30000), "has 30000 x 30000 pixels, more than the 64,000,000 allowed"),
        (dicom(grey(), syntax=DeflatedExplicitVRLittleEndian), "deflated"),
        (JPEG_LS, "is compressed as JPEG-LS Lossless Image Compression, for which no decoder is installed"),
        (dicom(grey(), PhotometricInterpretation="HSV"), "photometric interpretation HSV"),
        (dicom(grey(), WindowCenter=5, WindowWidth=0, VOILUTFunction="SIGMOID"), "SIGMOID with width 0"),
        (dicom(grey(), RescaleSlope=0, RescaleIntercept=5), "rescale slope of 0"),
    ],
)
def test_what_cannot_be_read_says_why(content, message):
    with pytest.raises(ImageError, match=message):
        decode(content)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_every_cut_of_a_file_is_an_image_error_or_an_image():
    content = dicom(grey())
    for end in range(0, len(content), 7):
        try:
            image = decode(content[:end])
        except ImageError:
            continue
        assert image.shape == (2, 3, 1)


def test_dicom_of_eight_bits_is_itself():
    assert decode(dicom(grey()))[:, :, 0].tolist() == GREY
    assert decode(dicom(grey(), PhotometricInterpretation="MONOCHROME1"))[:, :, 0].tolist() == (255 - grey()).tolist()
    assert decode(dicom(colour())).tolist() == colour().tolist()


@pytest.mark.parametrize(
    ("stored", "attributes", "expected"),
    [
        ([0, 255, 256, 65535], {}, [0, 0, 1, 255]),  # 16 bits: >> 8
        ([0, 15, 16, 4095], {"BitsStored": 12}, [0, 0, 1, 255]),  # 12 bits: >> 4
        ([0, 16, 4095, 0], {"BitsStored": 12, "PhotometricInterpretation": "MONOCHROME1"}, [255, 254, 0, 255]),
        ([100, 150, 201, 400], {"WindowCenter": 150.5, "WindowWidth": 101}, [0, 128, 255, 255]),
        (
            [0, 50, 100, 200],
            {"WindowCenter": 50, "WindowWidth": 100, "VOILUTFunction": "LINEAR_EXACT"},
            [0, 128, 255, 255],
        ),
        ([0, 50, 100, 150], {"WindowCenter": 50, "WindowWidth": 100, "VOILUTFunction": "SIGMOID"}, [30, 128, 225, 250]),
        ([9, 10, 11, 12], {"WindowCenter": 10.5, "WindowWidth": 1}, [0, 0, 255, 255]),
        # several windows: the first; values after the rescaling
        (
            [0, 50, 100, 200],
            {"WindowCenter": [0.5, 9], "WindowWidth": [201, 9], "RescaleSlope": 2, "RescaleIntercept": -100},
            [0, 128, 255, 255],
        ),
        # a rescaling alone changes nothing but, where it falls, the direction
        ([0, 255, 256, 65535], {"RescaleSlope": 0.5, "RescaleIntercept": -7}, [0, 0, 1, 255]),
        ([0, 256, 65280, 65535], {"RescaleSlope": -1, "RescaleIntercept": 0}, [255, 254, 0, 0]),
    ],
)
def test_dicom_values_become_eight_bits(stored, attributes, expected):
    assert decode(dicom(np.array([stored], np.uint16), **attributes))[0, :, 0].tolist() == expected


def test_signed_dicom():
    stored = np.array([[-32768, -1, 0, 32767]], np.int16)
    assert decode(dicom(stored))[0, :, 0].tolist() == [0, 127, 128, 255]


def test_dicom_lookup_table():
    table = Dataset()
    table.LUTDescriptor, table.LUTData = [4, 10, 16], struct.pack("<4H", 0, 0x1000, 0x8000, 0xFFFF)
    stored = np.array([[9, 10, 11, 12, 13, 14]], np.uint16)
    for name in ("VOILUTSequence", "ModalityLUTSequence"):
        image = decode(dicom(stored, **{name: [table]}))
        assert image[0, :, 0].tolist() == [0, 0, 0x10, 0x80, 0xFF, 0xFF], name


def test_the_stored_size_is_reported():
    image, size = load_sized(dicom(grey()), size=8, resize="squash", channels=3)
    assert (image.shape, size) == ((8, 8, 3), (2, 3))


def compressed(frame: bytes, side: int) -> bytes:
    """A DICOM file that says it has side x side pixels, around one JPEG."""
    return dicom(np.zeros((side, side), np.uint8), syntax=JPEGBaseline8Bit, PixelData=encapsulate([frame]))


def test_a_compressed_frame_is_decoded():
    frame = encoded(np.full((16, 16), 77, np.uint8), "JPEG")
    assert decode(compressed(frame, 16)).tolist() == np.full((16, 16, 1), 77).tolist()


def test_a_compressed_frame_is_judged_by_its_own_size_and_scans_before_it_is_decoded(monkeypatch):
    monkeypatch.setattr("models.dicom.pixel_array", lambda dataset: pytest.fail("decodes it"))
    monkeypatch.setattr("models.pixels.MAX_PIXELS", 1000)
    with pytest.raises(ImageError, match="has 64 x 64 pixels, more than the 1,000 allowed"):
        decode(compressed(encoded(Image.new("L", (64, 64), 9), "JPEG"), 16))
    frame = encoded(Image.new("L", (16, 16), 9), "JPEG", progressive=True)
    start = frame.index(b"\xff\xda")
    many = frame[:start] + frame[start:-2] * 200 + frame[-2:]
    with pytest.raises(ImageError, match=r"has \d+ scans of 256 pixels, which take long to decode"):
        decode(compressed(many, 16))
