"""Small images and their encoded bytes, for every test that decodes."""

import io

import numpy as np
from PIL import Image
from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

GREY = [[0, 50, 100], [150, 200, 250]]


def encoded(array, format="PNG", mode=None, **options):
    stream = io.BytesIO()
    picture = array if isinstance(array, Image.Image) else Image.fromarray(array)
    picture.convert(mode or picture.mode).save(stream, format, **options)
    return stream.getvalue()


def grey(dtype=np.uint8):
    return np.array(GREY, dtype)


def colour():
    """2 x 3 pixels: red, green, blue; white, black, grey."""
    return np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]], [[255] * 3, [0] * 3, [128] * 3]], np.uint8)


def dicom(stored, syntax=ExplicitVRLittleEndian, **attributes):
    """A DICOM file around stored values (H, W) or (H, W, 3); `attributes` override or, with None, remove."""
    stored = np.asarray(stored)
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, generate_uid()
    bits = 8 * stored.dtype.itemsize
    plain = {
        "Rows": stored.shape[0],
        "Columns": stored.shape[1],
        "SamplesPerPixel": 1 if stored.ndim == 2 else 3,
        "PhotometricInterpretation": "MONOCHROME2" if stored.ndim == 2 else "RGB",
        "BitsAllocated": bits,
        "BitsStored": bits,
        "HighBit": attributes.get("BitsStored", bits) - 1,
        "PixelRepresentation": int(stored.dtype.kind == "i"),
        "PixelData": stored.tobytes(),
    }
    if stored.ndim == 3:
        plain["PlanarConfiguration"] = 0
    for name, value in (plain | attributes).items():
        if value is not None:
            setattr(dataset, name, value)
    stream = io.BytesIO()
    dcmwrite(stream, dataset, enforce_file_format=True)
    return stream.getvalue()
