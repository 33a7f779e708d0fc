"""Decode and resize one image: the only such code, so that a served model sees what the training saw.

Rules, the same for every format:
- The image stands as a viewer shows it: EXIF and TIFF orientation are applied; colour profiles are ignored.
- More than 8 bits: the full range of the stored bits becomes 0 to 255 (16 bits: value >> 8), unless a DICOM file names
  a window, which then becomes 0 to 255. 32-bit and floating-point pixels have no such range and are refused.
- Transparency is laid over black, the colour of padding bars.
- DICOM: modality and window (or VOI table), then MONOCHROME1 is inverted, so that high values are bright.
- One image per file: DICOM with several frames and TIFF or PNG with several pages are refused.
"""

import io
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from pydicom import Dataset, dcmread
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi
from pydicom.pixels.utils import pixel_array

from models.errors import ModelError

Resize = Literal["crop", "pad", "squash"]
Pixels = NDArray[np.uint8]

MAX_PIXELS = 64_000_000
"""Larger images are refused before they are decoded (an 8000 x 8000 colour image takes 192 MB)."""

FORMATS = ("JPEG", "PNG", "TIFF", "BMP")
TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""From the EXIF orientation to the operation that sets the image upright."""
ORIENTATION_TAG = 0x0112
DEFLATED_DICOM = b"1.2.840.10008.1.2.1.99"


class ImageError(ModelError):
    """An image that cannot be read; the message gives the reason, the caller knows which image it is."""


def load(content: bytes, *, size: int, resize: Resize, channels: int) -> Pixels:
    """Return an encoded image as uint8 (size, size, channels), channels 1 (grey) or 3 (RGB).

    Big JPEGs are decoded at a half, a quarter or an eighth, never below twice `size`. Raises ImageError.
    """
    return to_square(to_channels(decode(content, at_least=2 * size), channels), size, resize)


def decode(content: bytes, at_least: int | None = None) -> Pixels:
    """Return an encoded image as uint8 (H, W, 1) where it is grey, (H, W, 3) in RGB where it has colours.

    JPEG, PNG, TIFF, BMP and DICOM are told apart by their content. With `at_least` a JPEG may be decoded at a half, a
    quarter or an eighth of its size, as long as both sides keep that many pixels. Raises ImageError.
    """
    if not content:
        raise ImageError("the file is empty")
    kind = "DICOM" if content[128:132] == b"DICM" else "an image"
    try:
        return _decode_dicom(content) if kind == "DICOM" else _decode_picture(content, at_least)
    except ImageError:
        raise
    except Exception as error:  # decoders raise nearly anything on damaged files
        reason = " ".join(str(error).split())
        raise ImageError(f"cannot be decoded as {kind}; it may be damaged or cut off ({reason[:300]})") from error


def to_channels(image: Pixels, channels: int) -> Pixels:
    """Return the image with 1 channel (luma 0.299 R + 0.587 G + 0.114 B) or 3 (grey in all of them)."""
    if channels not in (1, 3):
        raise ValueError(f"channels is {channels}; 1 (grey) and 3 (RGB) are known")
    if image.shape[2] == channels:
        return image
    return np.repeat(image, 3, axis=2) if channels == 3 else _array(_picture(image).convert("L"))


def to_square(image: Pixels, size: int, mode: Resize) -> Pixels:
    """Return the image (H, W, channels) as (size, size, channels), bilinear, antialiased where it shrinks.

    crop: the centre square of the short side. pad: the long side fits, black bars fill the rest. squash: both sides
    fit, the aspect is lost.
    """
    picture, (height, width) = _picture(image), image.shape[:2]
    match mode:
        case "crop":
            side = min(height, width)
            left, top = (width - side) // 2, (height - side) // 2
            return _array(_scale(picture, size, size, (left, top, left + side, top + side)))
        case "pad":
            scale = size / max(height, width)
            fitted_height, fitted_width = max(1, round(height * scale)), max(1, round(width * scale))
            square = np.zeros((size, size, image.shape[2]), np.uint8)
            top, left = (size - fitted_height) // 2, (size - fitted_width) // 2
            inner = _array(_scale(picture, fitted_width, fitted_height))
            square[top : top + fitted_height, left : left + fitted_width] = inner
            return square
        case "squash":
            return _array(_scale(picture, size, size))
        case _:
            raise ValueError(f"resize is {mode!r}; known are crop, pad, squash")


def _scale(picture: Image.Image, width: int, height: int, box: tuple[int, int, int, int] | None = None) -> Image.Image:
    return picture.resize((width, height), Image.Resampling.BILINEAR, box=box)


def _picture(image: Pixels) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(image[:, :, 0] if image.shape[2] == 1 else image))


def _array(picture: Image.Image) -> Pixels:
    array = np.array(picture)
    return array[:, :, None] if array.ndim == 2 else array


def _require_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise ImageError(f"has {width} x {height} pixels, more than the {MAX_PIXELS:,} allowed; shrink it first")
    if width < 1 or height < 1:
        raise ImageError(f"has {width} x {height} pixels")


def _decode_picture(content: bytes, at_least: int | None) -> Pixels:
    try:
        picture = Image.open(io.BytesIO(content), formats=FORMATS)
    except UnidentifiedImageError:
        raise ImageError(f"not an image file; {', '.join(FORMATS)} and DICOM can be read") from None
    except Image.DecompressionBombError:
        raise ImageError(f"has far more than the {MAX_PIXELS:,} pixels allowed; shrink it first") from None
    with picture:
        _require_size(*picture.size)
        if picture.format in ("TIFF", "PNG") and getattr(picture, "n_frames", 1) > 1:
            raise ImageError(f"holds {getattr(picture, 'n_frames')} pages; save the one that is meant")  # noqa: B009
        if at_least is not None and picture.format in ("JPEG", "MPO"):
            picture.draft(None, (at_least, at_least))  # type: ignore[arg-type]
        picture.load()
        return _eight_bits(_upright(picture))


def _upright(picture: Image.Image) -> Image.Image:
    try:
        orientation = picture.getexif().get(ORIENTATION_TAG, 1)
    except Exception:  # a damaged EXIF block says nothing about the pixels
        orientation = 1
    operation = TRANSPOSE.get(orientation)
    return picture if operation is None else picture.transpose(operation)


def _eight_bits(picture: Image.Image) -> Pixels:
    """Return the pixels of any of Pillow's modes as uint8 (H, W, 1 or 3)."""
    mode = picture.mode
    if mode.startswith("I;16"):
        return (np.asarray(picture) >> 8).astype(np.uint8)[:, :, None]
    if mode in ("I", "F"):
        raise ImageError("has 32-bit or floating-point pixels, whose range is unknown; save it with 8 or 16 bits")
    if mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in picture.info:
        grey = mode in ("1", "L", "LA", "La")
        return _over_black(picture.convert("LA" if grey else "RGBA"))
    return _array(picture if mode in ("L", "RGB") else picture.convert("L" if mode == "1" else "RGB"))


def _over_black(picture: Image.Image) -> Pixels:
    array = np.asarray(picture).astype(np.uint16)
    return ((array[:, :, :-1] * array[:, :, -1:] + 127) // 255).astype(np.uint8)


def _decode_dicom(content: bytes) -> Pixels:
    if DEFLATED_DICOM in content:
        raise ImageError("is DICOM in the deflated transfer syntax, whose size is unbounded; save it uncompressed")
    dataset = dcmread(io.BytesIO(content))
    if "PixelData" not in dataset:
        raise ImageError("is a DICOM file without integer pixel data")
    _require_size(int(dataset.Columns), int(dataset.Rows))
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames != 1:
        raise ImageError(f"holds {frames} frames; save the one that is meant")
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax.is_compressed and not get_decoder(syntax).is_available:
        raise ImageError(f"is compressed as {syntax.name}, for which no decoder is installed; save it uncompressed")
    stored = pixel_array(dataset)
    match str(dataset.PhotometricInterpretation):
        case "MONOCHROME1":
            return 255 - _window(stored, dataset)[:, :, None]
        case "MONOCHROME2":
            return _window(stored, dataset)[:, :, None]
        case "PALETTE COLOR":
            coloured = apply_color_lut(stored, dataset)
            return _high_byte(coloured, 8 * coloured.dtype.itemsize)
        case "RGB" | "YBR_FULL" | "YBR_FULL_422" | "YBR_ICT" | "YBR_RCT":  # pydicom decodes all of them to RGB
            return _high_byte(stored, int(dataset.BitsStored))
        case other:
            raise ImageError(f"has the photometric interpretation {other}, which cannot be read")


def _high_byte(array: np.ndarray, bits: int) -> Pixels:
    return (array >> max(0, bits - 8)).astype(np.uint8)


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
    """Return where each value lies in the window, 0 to 1."""
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
