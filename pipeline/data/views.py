"""Augmented views: a pure function of (sample, view number, view seed), applied to a whole batch on its device.

A view's parameters come from a counter-based random stream (its counter is the view number); row i of
images.npy takes draw i, so a view is the same on every device, in every batch and for every method. That is what lets
the teachers' answers to a view be computed once and stored.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from models.inference import to_device
from pipeline.common.seeds import stream
from pipeline.params.tree import ViewParams

DRAWS = 14
"""Uniform numbers per sample and view; new transformations append to the list, so that old ones keep their draws."""


@dataclass(frozen=True)
class Preset:
    """Ranges of the transformations; 0 switches one off.

    `rotate` in degrees, `translate` and `cutout` as a share of the side, `scale`, `brightness`, `contrast`,
    `saturation` and `tint` (per-channel gain) as relative half-ranges: 0.2 = a factor in [0.8, 1.2].
    """

    flip_x: bool = False
    flip_y: bool = False
    rotate: float = 0.0
    translate: float = 0.0
    scale: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    tint: float = 0.0
    cutout: float = 0.0


PRESETS: dict[str, Preset] = {
    "none": Preset(),
    "flip_crop": Preset(flip_x=True, translate=0.1),
    "lesion": Preset(
        flip_x=True,
        flip_y=True,
        rotate=180.0,
        translate=0.08,
        scale=0.15,
        brightness=0.15,
        contrast=0.15,
        saturation=0.15,
        tint=0.05,
        cutout=0.2,
    ),
    "chest": Preset(flip_x=True, rotate=8.0, translate=0.06, scale=0.1, brightness=0.15, contrast=0.15, cutout=0.15),
}


class Views:
    """The V views of N samples. Pass e over them trains on view e mod V; view number V is the clean image.

    `of_teachers`: as many other views, drawn from a stream of their own. Teachers train on these, since they answer the
    students' views: one that has seen a sample with a wrong label repeats it for exactly those pixels (method, 3).
    """

    def __init__(self, params: ViewParams, num_samples: int, *, of_teachers: bool = False) -> None:
        self.count = params.count
        self.preset = PRESETS[params.preset]
        self._seed = params.seed
        self._num_samples = num_samples
        self._of_teachers = of_teachers
        self._table: tuple[int, torch.device, Tensor] | None = None

    def of_epoch(self, epoch: int) -> int:
        """The view that epoch `epoch`, or pass over the training set, trains on; both count from 0."""
        return epoch % self.count

    def apply(self, pixels: Tensor, rows: Tensor, view: int) -> Tensor:
        """Return view `view` of a batch.

        `pixels`: (B, channels, H, W) float in [0, 1]; `rows`: int64 (B,), rows of images.npy, on the device of the
        pixels; same shape and range out. The device waits for the host once per view alone.
        """
        if view == self.count or self.preset == Preset():
            return pixels
        return transform(pixels, self._parameters(view, pixels.device)[rows], self.preset)

    def _parameters(self, view: int, device: torch.device) -> Tensor:
        """The whole view's parameters on the device; computed on the host, so that every device has the same."""
        if self._table is None or self._table[:2] != (view, device):
            drawn = draws(self._seed, view, self._num_samples, of_teachers=self._of_teachers)
            table = parameters(torch.from_numpy(drawn), self.preset)
            self._table = (view, device, to_device(table, device))
        return self._table[2]


def draws(seed: int, view: int, num_samples: int, *, of_teachers: bool = False) -> np.ndarray:
    """Return the uniform numbers of one view, float32 (N, DRAWS) in [0, 1). The first n rows do not depend on N."""
    source = stream(seed, "teachers' views", view) if of_teachers else stream(seed, "views", view)
    return source.random((num_samples, DRAWS), dtype=np.float32)


def parameters(draws: Tensor, preset: Preset) -> Tensor:
    """Turn uniform numbers into what `transform` applies, float32 (N, 14); `draws`: (N, DRAWS).

    Columns: the affine matrix row by row (6), brightness, contrast, saturation, the gains of three channels, and the
    centre of the hole (y, x) as shares of the sides.
    """
    ranges = torch.tensor([preset.brightness, preset.contrast, preset.saturation, *[preset.tint] * 3])
    return torch.cat([affine(draws, preset).flatten(1), 1 + _signed(draws[:, 6:12], ranges), draws[:, 12:14]], dim=1)


def _signed(draws: Tensor, half_range: float | Tensor) -> Tensor:
    """Uniform numbers in [0, 1) to [-half_range, half_range)."""
    return (2 * draws - 1) * half_range


def affine(draws: Tensor, preset: Preset) -> Tensor:
    """Return the (B, 2, 3) matrices from output to input coordinates in [-1, 1], for F.affine_grid."""
    flip = torch.ones_like(draws[:, :2])
    flip[:, 0] -= 2.0 * (preset.flip_x * (draws[:, 0] < 0.5))
    flip[:, 1] -= 2.0 * (preset.flip_y * (draws[:, 1] < 0.5))
    angle = torch.deg2rad(_signed(draws[:, 2], preset.rotate))
    zoom = 1 + _signed(draws[:, 3], preset.scale)
    cos, sin = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    shift = _signed(draws[:, 4:6], 2 * preset.translate)  # the image is 2 wide in these coordinates
    first = torch.stack([cos * flip[:, 0], -sin * flip[:, 1], shift[:, 0]], dim=1)
    second = torch.stack([sin * flip[:, 0], cos * flip[:, 1], shift[:, 1]], dim=1)
    return torch.stack([first, second], dim=1)


def transform(pixels: Tensor, parameters: Tensor, preset: Preset) -> Tensor:
    """Apply geometry, then colour, then cutout. `pixels`: (B, channels, H, W) in [0, 1]; `parameters`: (B, 14)."""
    pixels = _geometry(pixels, parameters[:, :6], preset)
    pixels = _colour(pixels, parameters[:, 6:12], preset)
    return _cutout(pixels, parameters[:, 12:14], preset) if preset.cutout else pixels


def _geometry(pixels: Tensor, matrices: Tensor, preset: Preset) -> Tensor:
    if not (preset.flip_x or preset.flip_y or preset.rotate or preset.translate or preset.scale):
        return pixels
    grid = F.affine_grid(matrices.unflatten(1, (2, 3)), list(pixels.shape), align_corners=False)
    return F.grid_sample(pixels, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def _colour(pixels: Tensor, factors: Tensor, preset: Preset) -> Tensor:
    """Gains per image (and per channel for tint), contrast about the image's mean, saturation about its grey."""
    if not (preset.brightness or preset.contrast or preset.saturation or preset.tint):
        return pixels
    brightness, contrast, saturation = factors[:, :3, None, None, None].unbind(dim=1)
    mean = pixels.mean(dim=(1, 2, 3), keepdim=True)
    pixels = (pixels - mean) * contrast + mean * brightness
    if pixels.shape[1] == 3:
        grey = pixels.mean(dim=1, keepdim=True)
        pixels = (grey + (pixels - grey) * saturation) * factors[:, 3:, None, None]
    return pixels.clamp(0, 1)


def _cutout(pixels: Tensor, centres: Tensor, preset: Preset) -> Tensor:
    """Replace a square of side `cutout` at a random place by the image's mean."""
    height, width = pixels.shape[-2:]
    y = (torch.arange(height, device=pixels.device) + 0.5) / height
    x = (torch.arange(width, device=pixels.device) + 0.5) / width
    inside_y = (y - centres[:, :1]).abs() < preset.cutout / 2
    inside_x = (x - centres[:, 1:]).abs() < preset.cutout / 2
    hole = (inside_y[:, :, None] & inside_x[:, None, :])[:, None]
    return torch.where(hole, pixels.mean(dim=(2, 3), keepdim=True), pixels)
