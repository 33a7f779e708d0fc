"""Plots of corruptions: bars of what each costs, and an image under each of them."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.distillation.methods import METHODS
from pipeline.evaluation.corruptions import corrupt
from pipeline.evaluation.shift import CLEAN, MEAN
from pipeline.report import style
from pipeline.report.results import Results
from pipeline.report.shift import load, words

SHOWN = (1, 3, 5)
"""The severities of the examples."""
PITCH = 1.22
"""From row to row of the examples, in tiles: the name and the images."""
BLOCKS = 2
"""Corruptions beside each other."""


def corruption_bars(results: Results) -> Figure | None:
    """Macro F1 of each method under each corruption, mean over severities; None where nothing was tried."""
    shift = load(results)
    if shift is None:
        return None
    kinds, n = shift.summary["kinds"], len(shift.methods)
    figure = style.new_figure(len(kinds) * (0.16 * n + 0.12) + 1.2)
    panel = figure.subplots()
    height = 0.8 / n
    for place, method in enumerate(shift.methods):
        colour = style.METHOD_COLOURS[method]
        shifted = np.arange(len(kinds)) + (place - (n - 1) / 2) * height
        found = [shift.corruption(method, kind, MEAN, "f1_macro") for kind in kinds]
        panel.barh(
            shifted, [one.value for one in found], height=0.9 * height, color=colour, label=METHODS[method].title
        )
        for y, one in zip(shifted, found, strict=True):
            panel.plot([one.low, one.high], [y, y], color=style.INK, linewidth=1.1, marker="|", markersize=4)
        clean = shift.corruption(method, CLEAN, 0, "f1_macro").value
        panel.axvline(clean, color=colour, linestyle="--", linewidth=1.4)
    panel.set_yticks(range(len(kinds)), [words(kind) for kind in kinds])
    panel.set_ylim(len(kinds) - 0.4, -0.6)
    panel.set_xlim(0, 1)
    panel.set_xlabel("macro F1 on corrupted test images, mean over severities (dashed: on the images as they are)")
    panel.tick_params(axis="y", length=0)
    panel.grid(axis="x")
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def corruption_examples(results: Results) -> Figure | None:
    """The first test image under each corruption at the severities SHOWN; None without images."""
    shift, images = load(results), results.images
    test = np.flatnonzero(results.samples["split"] == "test")
    if shift is None or images is None or not len(test):
        return None
    kinds, rows, across = shift.summary["kinds"], test[:1], len(SHOWN) + 1
    lines = -(-len(kinds) // BLOCKS)
    width = BLOCKS * across + 0.5 * (BLOCKS - 1)
    figure = style.new_figure(style.WIDTH / width * PITCH * lines)
    figure.set_layout_engine("none")
    panel = figure.add_axes((0, 0, 1, 1))
    for place, kind in enumerate(kinds):
        left, top = (place // lines) * (across + 0.5), PITCH * (place % lines) + 0.2
        panel.text(left, top - 0.05, f"{words(kind)}: as it is, severity {', '.join(map(str, SHOWN))}", fontsize=8.5)
        _tile(panel, images[rows][0], left, top)
        for column, severity in enumerate(SHOWN, 1):
            shown = corrupt(images[rows], rows, kind, severity, results.params.split.seed)
            _tile(panel, shown[0], left + column, top)
    panel.set_xlim(0, width)
    panel.set_ylim(PITCH * lines, 0)
    panel.axis("off")
    return figure


def _tile(panel: Axes, image: np.ndarray, left: float, top: float) -> None:
    grey = image.shape[-1] == 1
    panel.imshow(
        image[..., 0] if grey else image,
        cmap="gray" if grey else None,
        vmin=0,
        vmax=255,
        extent=(left, left + 0.96, top + 0.96, top),
        aspect="auto",
    )
