"""Common corruptions of medical images: pure functions of an image, a severity and seeded draws.

The kinds are the families of MedMNIST-C (Di Salvo et al. 2024) that apply to lesions, films and cells; `severities` has
their strengths and sources. An image's draws come from a counter-based stream: its counter is the image's row, its name
the kind, so that they are the same in every batch and order, and for all severities of a kind. A stronger corruption is
then the same one further on.
"""

import io
from collections.abc import Callable

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter
from scipy.signal import fftconvolve

from pipeline.common.seeds import stream
from pipeline.evaluation.severities import SEVERITIES

Corruption = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]
"""(pixels float32 (H, W, channels) in [0, 1], strength, draws) -> the same shape; values may leave [0, 1]."""

MARKS, MARK_VALUE = 24, 0.08
"""Ticks along the side of a ruler, and their grey."""
MOST_BUBBLES = int(max(SEVERITIES["bubbles"]))
BUBBLE_RADIUS = (0.03, 0.08)


def corrupt(images: np.ndarray, rows: np.ndarray, kind: str, severity: int, seed: int) -> np.ndarray:
    """Return images with one corruption, uint8 of the same shape.

    `images`: uint8 (B, H, W, channels), channels 1 or 3; `rows`: int (B,), which draws each takes; `severity`: 1 to 5.
    """
    strength, change = SEVERITIES[kind][severity - 1], CORRUPTIONS[kind]
    found = np.empty_like(images)
    for place, row in enumerate(rows.tolist()):
        pixels = change(images[place].astype(np.float32) / 255, strength, stream(seed, f"corruption/{kind}", row))
        found[place] = np.rint(255 * np.clip(pixels, 0, 1)).astype(np.uint8)
    return found


def gaussian_noise(pixels: np.ndarray, strength: float, draws: np.random.Generator) -> np.ndarray:
    """Add normal noise to every value; `strength`: its standard deviation."""
    return pixels + strength * draws.standard_normal(pixels.shape, dtype=np.float32)


def speckle_noise(pixels: np.ndarray, strength: float, draws: np.random.Generator) -> np.ndarray:
    """Add normal noise in proportion to the value."""
    return pixels + strength * pixels * draws.standard_normal(pixels.shape, dtype=np.float32)


def impulse_noise(pixels: np.ndarray, strength: float, draws: np.random.Generator) -> np.ndarray:
    """Turn a share `strength` of the values black or white, half of them each."""
    drawn = draws.random(pixels.shape, dtype=np.float32)
    return np.where(drawn < strength / 2, 0, np.where(drawn >= 1 - strength / 2, 1, pixels))


def gaussian_blur(pixels: np.ndarray, strength: float, draws: np.random.Generator) -> np.ndarray:
    """Blur; `strength`: the standard deviation as a share of the side. Reflects at the edges."""
    sigma = strength * pixels.shape[0]
    return gaussian_filter(pixels, (sigma, sigma, 0))


def defocus_blur(pixels: np.ndarray, strength: float, draws: np.random.Generator) -> np.ndarray:
    """Blur as a lens out of focus; `strength`: the radius of the disc as a share of the side."""
    kernel = disc(strength * pixels.shape[0])
    reach = len(kernel) // 2
    padded = np.pad(pixels, ((reach, reach), (reach, reach), (0, 0)), mode="symmetric")
    return fftconvolve(padded, kernel[:, :, None], mode="valid", axes=(0, 1))


def disc(radius: float) -> np.ndarray:
    """Return a kernel (2r + 1, 2r + 1) that sums to 1: a disc whose rim of one pixel fades."""
    reach = int(np.ceil(radius))
    offsets = np.arange(-reach, reach + 1)
    weights = np.clip(radius + 0.5 - np.hypot(offsets[:, None], offsets[None, :]), 0, 1).astype(np.float32)
    return weights / weights.sum()


def brightness(pixels: np.ndarray, strength: float, draws: np.random.Generator) -> np.ndarray:
    """Multiply all values by `strength`."""
    return pixels * strength


def contrast(pixels: np.ndarray, strength: float, draws: np.random.Generator) -> np.ndarray:
    """Multiply the distance to the image's mean by `strength`."""
    mean = pixels.mean(dtype=np.float64).astype(np.float32)
    return mean + strength * (pixels - mean)


def gamma(pixels: np.ndarray, strength: float, draws: np.random.Generator) -> np.ndarray:
    """Raise all values to the power `strength`, as a change of a film's exposure does."""
    return pixels**strength


def jpeg(pixels: np.ndarray, strength: float, draws: np.random.Generator) -> np.ndarray:
    """Encode as JPEG of quality `strength`, and decode."""
    with io.BytesIO() as stored:
        _picture(pixels).save(stored, "JPEG", quality=int(strength))
        return _pixels(Image.open(stored), pixels.shape)


def pixelate(pixels: np.ndarray, strength: float, draws: np.random.Generator) -> np.ndarray:
    """Keep `strength` of the pixels of each side, as means over their areas, and enlarge them again."""
    height, width, _ = pixels.shape
    few = _picture(pixels).resize((max(1, round(width * strength)), max(1, round(height * strength))), BOX)
    return _pixels(few.resize((width, height), BOX), pixels.shape)


BOX = Image.Resampling.BOX


def dark_corners(pixels: np.ndarray, strength: float, draws: np.random.Generator) -> np.ndarray:
    """Blacken all outside the disc that a dermatoscope shows; `strength`: its radius in half sides."""
    y, x = _places(pixels)
    return np.where(np.hypot(2 * y - 1, 2 * x - 1)[:, :, None] > strength, 0, pixels)


def ruler(pixels: np.ndarray, strength: float, draws: np.random.Generator) -> np.ndarray:
    """Lay dark marks along one of the four edges; `strength`: their length as a share of the side."""
    edge = int(draws.integers(4))
    turned = np.rot90(pixels, edge).copy()
    y, x = _places(turned)
    number = np.floor(x * MARKS)
    within = x * MARKS - number < max(0.25, MARKS / turned.shape[1])  # a pixel wide at least
    length = np.where(number % 5 == 0, 2 * strength, strength)
    turned[within & (y < length)] = MARK_VALUE
    return np.rot90(turned, -edge)


def bubbles(pixels: np.ndarray, strength: float, draws: np.random.Generator) -> np.ndarray:
    """Lay bubbles of gel over the image: a lighter inside and a bright rim; `strength`: their number."""
    centres = draws.random((MOST_BUBBLES, 2))
    radii = draws.uniform(*BUBBLE_RADIUS, MOST_BUBBLES)
    y, x = _places(pixels)
    cover = np.zeros(pixels.shape[:2])  # how far towards white
    for (top, left), radius in list(zip(centres, radii, strict=True))[: int(strength)]:
        distance = np.hypot(y - top, x - left) / radius
        inside = np.where(distance <= 1, np.where(distance > 0.75, 0.7, 0.25), 0)
        cover = np.maximum(cover, inside)
    return pixels + cover[:, :, None] * (1 - pixels)


def _places(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The centres of the pixels as shares of the sides: y (H, 1) and x (1, W)."""
    height, width, _ = pixels.shape
    return (np.arange(height)[:, None] + 0.5) / height, (np.arange(width)[None, :] + 0.5) / width


def _picture(pixels: np.ndarray) -> Image.Image:
    stored = np.rint(255 * pixels).astype(np.uint8)
    return Image.fromarray(stored[:, :, 0] if stored.shape[2] == 1 else stored)


def _pixels(picture: Image.Image, shape: tuple[int, ...]) -> np.ndarray:
    return np.asarray(picture, dtype=np.float32).reshape(shape) / 255


CORRUPTIONS: dict[str, Corruption] = {
    "gaussian_noise": gaussian_noise,
    "speckle_noise": speckle_noise,
    "impulse_noise": impulse_noise,
    "gaussian_blur": gaussian_blur,
    "defocus_blur": defocus_blur,
    "brightness_up": brightness,
    "brightness_down": brightness,
    "contrast_up": contrast,
    "contrast_down": contrast,
    "jpeg": jpeg,
    "pixelate": pixelate,
    "dark_corners": dark_corners,
    "ruler": ruler,
    "bubbles": bubbles,
    "gamma_up": gamma,
    "gamma_down": gamma,
}
