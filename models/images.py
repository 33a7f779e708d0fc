"""Decode and resize one image: the only such code, so that a served model sees what the training saw.

Rules, the same for every format:
- The image is oriented as a viewer shows it: EXIF and TIFF orientation are applied; colour profiles are ignored.
- More than 8 bits: the full range of the stored bits becomes 0 to 255 (16 bits: value >> 8), unless a DICOM file names
  a window, which then becomes 0 to 255. 32-bit and floating-point pixels have no such range and are refused.
- Transparency is laid over black, the colour of padding bars.
- DICOM: modality and window (or VOI table), then MONOCHROME1 is inverted, so that high values are bright.
- One image per file: DICOM with several frames and TIFF or PNG with several pages are refused.
"""

import io
from typing import Literal

import numpy as np
from PIL import Image, MpoImagePlugin, TiffImagePlugin, UnidentifiedImageError  # noqa: F401

from models.jpeg import require_few_scans
from models.pixels import MAX_PIXELS, STRIP, ImageError, Pixels, Size, require_size

# Otherwise Pillow imports its decoders when the first image is opened, and all forty of them if that is a TIFF: 30 ms
# and more, in each of the processes that share the work.
Image.preinit()

Resize = Literal["crop", "pad", "squash"]
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
LYING = (5, 6, 7, 8)
"""The orientations that swap height and width."""


def load(content: bytes, *, size: int, resize: Resize, channels: int) -> Pixels:
    """Return an encoded image as uint8 (size, size, channels), channels 1 (grey) or 3 (RGB).

    Big JPEGs are decoded at a half, a quarter or an eighth, never below twice `size`. Raises ImageError.
    """
    return load_sized(content, size=size, resize=resize, channels=channels)[0]


def load_sized(content: bytes, *, size: int, resize: Resize, channels: int) -> tuple[Pixels, Size]:
    """Return what `load` returns, and the height and width of the image as stored, set upright."""
    picture, stored = _read(content, at_least=2 * size)
    return _array(_square(_with_channels(picture, channels), size, resize)), stored


def decode(content: bytes, at_least: int | None = None) -> Pixels:
    """Return an encoded image as uint8 (H, W, 1) where it is grey, (H, W, 3) in RGB where it has colours.

    JPEG, PNG, TIFF, BMP and DICOM are recognised by their content. With `at_least` a JPEG may be decoded at a half, a
    quarter or an eighth of its size, as long as both sides keep that many pixels. Raises ImageError.
    """
    return _array(_read(content, at_least)[0])


def to_channels(image: Pixels, channels: int) -> Pixels:
    """Return the image with 1 channel (luma 0.299 R + 0.587 G + 0.114 B) or 3 (grey in all of them)."""
    return image if image.shape[2] == channels else _array(_with_channels(_picture(image), channels))


def to_square(image: Pixels, size: int, mode: Resize) -> Pixels:
    """Return the image (H, W, channels) as (size, size, channels), bilinear, antialiased where it shrinks.

    crop: the centre square of the short side. pad: the long side fits, black bars fill the rest. squash: both sides
    fit, the aspect is lost.
    """
    return _array(_square(_picture(image), size, mode))


# Between decoding and resizing the image stays a Pillow picture of mode L or RGB: a turn into an array and back costs
# as much as the resizing of a small image.


def _picture(image: Pixels) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(image[:, :, 0] if image.shape[2] == 1 else image))


def _array(picture: Image.Image) -> Pixels:
    array = np.array(picture)
    return array[:, :, None] if array.ndim == 2 else array


def _with_channels(picture: Image.Image, channels: int) -> Image.Image:
    if channels not in (1, 3):
        raise ValueError(f"channels is {channels}; 1 (grey) and 3 (RGB) are known")
    mode = "L" if channels == 1 else "RGB"
    return picture if picture.mode == mode else picture.convert(mode)


def _square(picture: Image.Image, size: int, mode: Resize) -> Image.Image:
    width, height = picture.size
    match mode:
        case "crop":
            side = min(width, height)
            left, top = (width - side) // 2, (height - side) // 2
            return _scale(picture, size, size, (left, top, left + side, top + side))
        case "pad":
            scale = size / max(width, height)
            inner = _scale(picture, max(1, round(width * scale)), max(1, round(height * scale)))
            square = Image.new(picture.mode, (size, size))
            square.paste(inner, ((size - inner.width) // 2, (size - inner.height) // 2))
            return square
        case "squash":
            return _scale(picture, size, size)
        case _:
            raise ValueError(f"resize is {mode!r}; known are crop, pad, squash")


def _scale(picture: Image.Image, width: int, height: int, box: tuple[int, int, int, int] | None = None) -> Image.Image:
    return picture.resize((width, height), Image.Resampling.BILINEAR, box=box)


def _read(content: bytes, at_least: int | None) -> tuple[Image.Image, Size]:
    """Return an encoded image as a picture of mode L or RGB, and its height and width as stored, set upright."""
    if not content:
        raise ImageError("the file is empty")
    kind = "DICOM" if content[128:132] == b"DICM" else "an image"
    try:
        return _read_dicom(content) if kind == "DICOM" else _read_picture(content, at_least)
    except ImageError:
        raise
    except Exception as error:  # decoders raise nearly anything on damaged files
        reason = " ".join(str(error).split())
        raise ImageError(f"cannot be decoded as {kind}; it may be damaged or cut off ({reason[:300]})") from error


def _read_dicom(content: bytes) -> tuple[Image.Image, Size]:
    from models import dicom  # pydicom takes half a second to import, which most data sets and servers never need

    image = dicom.decode(content)
    return _picture(image), (image.shape[0], image.shape[1])


def _read_picture(content: bytes, at_least: int | None) -> tuple[Image.Image, Size]:
    try:
        picture = Image.open(io.BytesIO(content), formats=FORMATS)
    except UnidentifiedImageError:
        raise ImageError(f"not an image file; {', '.join(FORMATS)} and DICOM can be read") from None
    except Image.DecompressionBombError:
        raise ImageError(f"has far more than the {MAX_PIXELS:,} pixels allowed; shrink it first") from None
    width, height = picture.size
    require_size(width, height)
    if picture.format in ("TIFF", "PNG") and _has_second_page(picture):
        raise ImageError("holds several pages; save the one that is meant")
    if picture.format in ("JPEG", "MPO"):
        require_few_scans(content, width * height)
    if at_least is not None and min(width, height) >= 2 * at_least and picture.format in ("JPEG", "MPO"):
        picture.draft(None, (at_least, at_least))  # type: ignore[arg-type]
    picture.load()
    orientation = _orientation(picture)
    operation = TRANSPOSE.get(orientation)
    upright = picture if operation is None else picture.transpose(operation)
    return _eight_bits(upright), (width, height) if orientation in LYING else (height, width)


def _has_second_page(picture: Image.Image) -> bool:
    """Look for one more page alone: to count them all takes minutes in a file that is made to hold many."""
    try:
        picture.seek(1)
    except EOFError:
        picture.seek(0)
        return False
    return True


def _orientation(picture: Image.Image) -> int:
    if picture.format == "JPEG" and not {"exif", "xmp"} & picture.info.keys():
        return 1  # most JPEGs; to look for what is not there would take a tenth of the time of decoding a small one
    try:
        return picture.getexif().get(ORIENTATION_TAG, 1)
    except Exception:  # a damaged EXIF block says nothing about the pixels
        return 1


def _eight_bits(picture: Image.Image) -> Image.Image:
    """Return a picture of any of Pillow's modes as mode L or RGB."""
    mode = picture.mode
    if mode.startswith("I;16"):
        return Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    if mode in ("I", "F"):
        raise ImageError("has 32-bit or floating-point pixels, whose range is unknown; save it with 8 or 16 bits")
    if mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in picture.info:
        with_opacity = "LA" if mode in ("1", "L", "LA", "La") else "RGBA"
        return _over_black(picture if mode == with_opacity else picture.convert(with_opacity))
    return picture if mode in ("L", "RGB") else picture.convert("L" if mode == "1" else "RGB")


def _over_black(picture: Image.Image) -> Image.Image:
    """Return colours times opacity, rounded; in strips, so that beside the two pictures little memory is needed."""
    width, height = picture.size
    result = Image.new("L" if picture.mode == "LA" else "RGB", picture.size)
    for top in range(0, height, STRIP):
        strip = np.asarray(picture.crop((0, top, width, min(top + STRIP, height)))).astype(np.uint16)
        shown = (strip[:, :, :-1] * strip[:, :, -1:] + 127) // 255
        result.paste(_picture(shown.astype(np.uint8)), (0, top))
    return result
