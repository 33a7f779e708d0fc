"""Sheets of images: rows of square tiles with lines of text below each."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from pipeline.report import heatmap, style

PITCH = 1.5
"""From row to row of a sheet, in tiles: the image, and three lines of text around it."""
SIDE = 0.94


def new_sheet(rows: int, columns: int) -> tuple[Figure, Axes]:
    """Return a figure, and a panel in units of tiles whose rows begin PITCH apart from each other."""
    figure = style.new_figure(style.WIDTH / columns * PITCH * rows)
    figure.set_layout_engine("none")
    panel = figure.add_axes((0, 0, 1, 1))
    panel.set_xlim(-0.02, columns)
    panel.set_ylim(PITCH * rows, 0)
    panel.axis("off")
    return figure, panel


def draw(
    panel: Axes, image: np.ndarray, corner: tuple[float, float], lines: Sequence[str], *, frame: str | None = None,
    ink: str = style.INK, size: float = 7,
) -> None:  # fmt: skip
    """Draw an image, uint8 (H, W, 1 or 3), with its left upper corner at (column, top), framed in a colour or not."""
    column, top = corner
    grey = image.shape[-1] == 1
    pixels = image[..., 0] if grey else image
    extent = (column, column + SIDE, top + SIDE, top)
    panel.imshow(pixels, cmap="gray" if grey else None, vmin=0, vmax=255, extent=extent, aspect="auto")
    if frame is not None:
        panel.add_patch(Rectangle(corner, SIDE, SIDE, fill=False, edgecolor=frame, linewidth=2.5))
    if lines:
        text = "\n".join(heatmap.short(line) for line in lines)
        panel.text(column, top + SIDE + 0.04, text, va="top", fontsize=size, color=ink, linespacing=1.05)
