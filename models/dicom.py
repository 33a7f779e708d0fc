"""DICOM pixels as eight bits, by the rules of models/images.py."""

import io
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError
from pydicom import Dataset, dcmread
from pydicom.encaps import generate_frames
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi
from pydicom.pixels.utils import pixel_array

from models.jpeg import require_few_scans
from models.pixels import STRIP, ImageError, Pixels, require_size

DEFLATED_DICOM = b"1.2.840.10008.1.2.1.99"


def decode(content: bytes) -> Pixels:
    """Return a DICOM file as uint8 (H, W, 1), (H, W, 3) where it has colours.

    Raises ImageError for what is refused, nearly anything for a damaged file.
    """
    if DEFLATED_DICOM in content:
        raise ImageError("is DICOM in the deflated transfer syntax, whose size is unbounded; save it uncompressed")
    dataset = dcmread(io.BytesIO(content))
    if "PixelData" not in dataset:
        raise ImageError("is a DICOM file without integer pixel data")
    require_size(int(dataset.Columns), int(dataset.Rows))
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames != 1:
        raise ImageError(f"holds {frames} frames; save the one that is meant")
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax.is_compressed and not get_decoder(syntax).is_available:
        raise ImageError(f"is compressed as {syntax.name}, for which no decoder is installed; save it uncompressed")
    if syntax.is_compressed:
        _require_small_frame(next(generate_frames(dataset.PixelData, number_of_frames=1)))
    stored = pixel_array(dataset)
    match str(dataset.PhotometricInterpretation):
        case "MONOCHROME1":
            return 255 - _windowed(stored, dataset)[:, :, None]
        case "MONOCHROME2":
            return _windowed(stored, dataset)[:, :, None]
        case "PALETTE COLOR":
            coloured = apply_color_lut(stored, dataset)
            return _high_byte(coloured, 8 * coloured.dtype.itemsize)
        case "RGB" | "YBR_FULL" | "YBR_FULL_422" | "YBR_ICT" | "YBR_RCT":  # pydicom decodes all of them to RGB
            return _high_byte(stored, int(dataset.BitsStored))
        case other:
            raise ImageError(f"has the photometric interpretation {other}, which cannot be read")


def _require_small_frame(frame: bytes) -> None:
    """Raise ImageError for a compressed frame that is larger than Rows and Columns say, or takes long to decode."""
    try:
        with Image.open(io.BytesIO(frame)) as picture:
            width, height, kind = *picture.size, picture.format
    except UnidentifiedImageError:
        return  # run-length encoding, which is decoded to the stated size
    require_size(width, height)
    if kind == "JPEG":
        require_few_scans(frame, width * height)


def _high_byte(array: np.ndarray, bits: int) -> Pixels:
    return (array >> max(0, bits - 8)).astype(np.uint8)


def _windowed(stored: np.ndarray, dataset: Dataset) -> Pixels:
    """Window strip by strip: a window is computed in several arrays of eight bytes a pixel."""
    result = np.empty(stored.shape, np.uint8)
    for top in range(0, len(stored), STRIP):
        result[top : top + STRIP] = _window(stored[top : top + STRIP], dataset)
    return result


def _window(stored: np.ndarray, dataset: Dataset) -> Pixels:
    """Apply modality and VOI transformation (PS3.3 C.11.1 and C.11.2) to stored values (H, W)."""
    values = apply_modality_lut(stored, dataset)
    if dataset.get("VOILUTSequence"):
        bits = int(dataset.VOILUTSequence[0].LUTDescriptor[2])
        return _high_byte(apply_voi(np.rint(values).astype(np.int64), dataset), bits)
    centre, width = _first(dataset.get("WindowCenter")), _first(dataset.get("WindowWidth"))
    if centre is not None and width is not None:
        function = str(dataset.get("VOILUTFunction") or "LINEAR").upper()
        return np.floor(255 * _window_shares(values, centre, width, function) + 0.5).astype(np.uint8)
    low, extent = _value_range(dataset)
    return np.clip((values - low) / extent * 256, 0, 255).astype(np.uint8)


def _first(value: Any) -> float | None:
    """The first of the windows that a file offers."""
    if value is None or value == "":
        return None
    return float(value) if isinstance(value, (int, float, str)) else float(value[0])


def _window_shares(values: np.ndarray, centre: float, width: float, function: str) -> np.ndarray:
    """Return each value's position in the window, 0 to 1."""
    match function:
        case "LINEAR" if width > 1:
            shares = (values - (centre - 0.5)) / (width - 1) + 0.5
        case "LINEAR":
            shares = (values > centre - 0.5).astype(np.float64)
        case "LINEAR_EXACT" if width > 0:
            shares = (values - centre) / width + 0.5
        case "SIGMOID" if width > 0:
            shares = 1 / (1 + np.exp(-4 * (values - centre) / width))
        case _:
            raise ImageError(f"has the window function {function} with width {width:g}, which DICOM does not define")
    return np.clip(shares, 0, 1)


def _value_range(dataset: Dataset) -> tuple[float, float]:
    """Return the lowest value that the file can hold after the modality transformation, and how many levels above."""
    if dataset.get("ModalityLUTSequence"):
        return 0.0, 2.0 ** int(dataset.ModalityLUTSequence[0].LUTDescriptor[2])
    levels = 2.0 ** int(dataset.BitsStored)
    lowest = -levels / 2 if dataset.PixelRepresentation else 0.0
    if "RescaleSlope" not in dataset or "RescaleIntercept" not in dataset:
        return lowest, levels
    slope, intercept = float(dataset.RescaleSlope), float(dataset.RescaleIntercept)
    if slope == 0:
        raise ImageError("has a rescale slope of 0")
    ends = (lowest * slope + intercept, (lowest + levels - 1) * slope + intercept)
    return min(ends), levels * abs(slope)
