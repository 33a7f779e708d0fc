"""Plots of what went in: how the teachers' subsets overlap, and a sheet of images with their labels."""

from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from pipeline.report import style
from pipeline.report.results import Results

PER_CLASS = 8
PITCH = 1.5  # from row to row of the contact sheet, in tiles: name, image, two lines of text


def overlap_shares(results: Results) -> np.ndarray:
    """Return (K, K): the share of all training samples common to two teachers; a teacher's own share on the diagonal.

    The teachers stand in the order of the columns of subsets.csv; (0, 0) without subsets.
    """
    members = results.members.drop(columns="sample_id").astype(int).to_numpy()
    return members.T @ members / max(len(members), 1)


def overlap(results: Results) -> Figure | None:
    """Heat map of `overlap_shares`; None without subsets."""
    shares, names = overlap_shares(results), [c for c in results.members.columns if c != "sample_id"]
    if not len(shares) or not len(results.members):
        return None
    figure = style.new_figure(0.5 * len(names) + 1.9, 0.85 * len(names) + 2.4)
    panel = figure.subplots()
    image = panel.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for row, column in np.ndindex(*shares.shape):
        colour = "white" if shares[row, column] > 0.55 else style.INK
        panel.text(column, row, f"{100 * shares[row, column]:.0f} %", ha="center", va="center", color=colour)
    panel.set_xticks(range(len(names)), names, rotation=30, ha="right", rotation_mode="anchor")
    panel.set_yticks(range(len(names)), names)
    panel.set_xlabel("teacher")
    panel.set_ylabel("teacher")
    panel.tick_params(length=0)
    panel.spines[:].set_visible(False)
    figure.colorbar(image, label="share of the training data", ticks=[0, 0.5, 1])
    return figure


def sheet_rows(samples: pd.DataFrame, name: str, count: int = PER_CLASS) -> list[int]:
    """Return rows of `samples` to show for a published class: training images, evenly spread, half of them changed.

    Where fewer are changed, unchanged ones fill up, and the other way round; changed ones stand last.
    """
    published = np.array([name in cell.split("|") for cell in samples["published"]], dtype=bool)
    train = np.flatnonzero(published & (samples["split"] == "train").to_numpy())
    changed = (samples["given"] != samples["published"]).to_numpy()[train]
    kept, altered = train[~changed], train[changed]
    n_altered = min(len(altered), max(count // 2, count - len(kept)))
    return [*_spread(kept, count - n_altered), *_spread(altered, n_altered)]


def _spread(rows: np.ndarray, count: int) -> list[int]:
    count = min(count, len(rows))
    return [int(row) for row in rows[np.linspace(0, len(rows) - 1, count).astype(int)]] if count else []


def label_change(given: str, published: str) -> list[str]:
    """Return what became of a published label, in lines: nothing, `given NV`, or `+ Mass`, `− Effusion`."""
    old, new = ([name for name in cell.split("|") if name] for cell in (published, given))
    if old == new:
        return []
    if len(old) == len(new) == 1:
        return [f"given {new[0]}"]
    lines = [f"+ {name}" for name in new if name not in old] + [f"− {name}" for name in old if name not in new]
    return lines if len(lines) <= 2 else [lines[0], f"and {len(lines) - 1} more"]


def contact_sheet(results: Results) -> Figure | None:
    """Training images of every published class; changed labels are framed and written below. None without images."""
    images = results.images
    if images is None:
        return None
    figure = style.new_figure(style.WIDTH / PER_CLASS * PITCH * len(results.classes))
    figure.set_layout_engine("none")
    panel = figure.add_axes((0, 0, 1, 1))
    for row, name in enumerate(results.classes):
        rows, top = sheet_rows(results.samples, name), PITCH * row + 0.24
        panel.text(0, top - 0.06, name if rows else f"{name}: no training image", fontweight="bold")
        for column, index in enumerate(rows):
            _tile(panel, images[index], results.samples.iloc[index].to_dict(), column, top)
    panel.set_xlim(-0.02, PER_CLASS)
    panel.set_ylim(PITCH * len(results.classes), 0)
    panel.axis("off")
    return figure


def _tile(panel: Axes, image: np.ndarray, sample: dict[Hashable, Any], column: int, top: float) -> None:
    grey = image.shape[-1] == 1
    extent = (column, column + 0.94, top + 0.94, top)
    panel.imshow(
        image[..., 0] if grey else image, cmap="gray" if grey else None, vmin=0, vmax=255, extent=extent, aspect="auto"
    )
    lines = label_change(str(sample["given"]), str(sample["published"]))
    if not lines:
        return
    colour = style.CHANGED if sample["flipped"] else style.CORRECTED
    panel.add_patch(Rectangle((column, top), 0.94, 0.94, fill=False, edgecolor=colour, linewidth=2.5))
    panel.text(column, top + 0.98, "\n".join(lines), va="top", fontsize=7.5, color=colour, linespacing=1.05)
