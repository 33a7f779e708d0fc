"""The corruptions by name, and how strong each is at the severities 1 to 5.

Lengths are shares of the image's side, so that a severity means the same at every image size. Where a corruption is one
of MedMNIST-C (Di Salvo et al. 2024, arXiv 2406.17536) the values are those of DermaMNIST-C, of gamma those of
ChestMNIST-C, set for images of 224 px; Gaussian blur is ImageNet-C's (Hendrycks & Dietterich 2019, arXiv 1903.12261).
Rulers and bubbles of gel have no published values: these are our own.
"""

PUBLISHED_SIDE = 224
"""The side in pixels at which the published lengths are meant."""
SEVERITIES: dict[str, tuple[float, ...]] = {
    "gaussian_noise": (0.04, 0.08, 0.12, 0.18, 0.26),  # standard deviation, of pixels in [0, 1]
    "speckle_noise": (0.05, 0.15, 0.20, 0.35, 0.45),  # the same, times the pixel
    "impulse_noise": (0.01, 0.03, 0.06, 0.09, 0.17),  # share of values that become black or white
    "gaussian_blur": tuple(pixels / PUBLISHED_SIDE for pixels in (1, 2, 3, 4, 6)),  # standard deviation
    "defocus_blur": tuple(pixels / PUBLISHED_SIDE for pixels in (4, 5, 6, 7, 8)),  # radius of the disc
    "brightness_up": (1.1, 1.2, 1.3, 1.4, 1.5),  # factor
    "brightness_down": (0.9, 0.8, 0.7, 0.6, 0.5),
    "contrast_up": (1.1, 1.2, 1.3, 1.4, 1.6),  # factor about the image's mean
    "contrast_down": (0.8, 0.7, 0.6, 0.5, 0.4),
    "jpeg": (30, 20, 15, 10, 7),  # quality of Pillow's encoder
    "pixelate": (0.7, 0.5, 0.4, 0.3, 0.25),  # resolution that is left, of each side
    "dark_corners": (1.10, 1.05, 1.00, 0.95, 0.90),  # radius of the visible disc, in half sides; corners are at 1.41
    "ruler": (0.04, 0.07, 0.10, 0.13, 0.16),  # length of the marks at one edge; every fifth is twice as long
    "bubbles": (2, 4, 6, 9, 12),  # number of bubbles, each 3 to 8 % of the side in radius
    "gamma_up": (1.1, 1.2, 1.3, 1.4, 1.6),  # exponent: above 1 the film darkens
    "gamma_down": (0.9, 0.8, 0.7, 0.6, 0.4),
}
OF_LESIONS = ("dark_corners", "ruler", "bubbles")
"""What dermatoscopes add."""
OF_FILMS = ("gamma_up", "gamma_down")
"""Exposure of films."""


def suited(preset: str, channels: int) -> tuple[str, ...]:
    """Return the corruptions that images can have, by `views.preset` and their channels.

    Noise, blur, brightness, contrast, compression and resolution suit all. `lesion` adds OF_LESIONS; `chest`, or grey
    images, OF_FILMS.
    """
    left_out = (() if preset == "lesion" else OF_LESIONS) + (() if preset == "chest" or channels == 1 else OF_FILMS)
    return tuple(kind for kind in SEVERITIES if kind not in left_out)
