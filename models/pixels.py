"""What every decoder shares: the type of pixels, the limit on their number, and the error for what cannot be read."""

import numpy as np
from numpy.typing import NDArray

from models.errors import ModelError

Pixels = NDArray[np.uint8]
Size = tuple[int, int]
"""Height and width in pixels."""

MAX_PIXELS = 64_000_000
"""Larger images are refused before they are decoded (an 8000 x 8000 colour image takes 192 MB)."""

STRIP = 64
"""Lines of an image that are computed with at once, where computing takes more memory than the image."""


class ImageError(ModelError):
    """An image that cannot be read; the message gives the reason, the caller knows which image it is."""


def require_size(width: int, height: int) -> None:
    """Raise ImageError for an image too large to decode, or without pixels."""
    if width * height > MAX_PIXELS:
        raise ImageError(f"has {width} x {height} pixels, more than the {MAX_PIXELS:,} allowed; shrink it first")
    if width < 1 or height < 1:
        raise ImageError(f"has {width} x {height} pixels")
