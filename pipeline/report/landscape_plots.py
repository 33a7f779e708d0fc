"""Plots of the loss around the students' weights: contours and surfaces with one scale, and slices in one axis."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from pipeline.common.tables import read_csv
from pipeline.distillation.methods import METHODS
from pipeline.report import style
from pipeline.report.landscape import measured
from pipeline.report.results import Results

WIDTH = 5.25
"""Inches of one picture: two are side by side on a wide page, one below the other on a telephone."""
STEP = "step along direction {} (in filter lengths)"
LOSS = "loss in nats"
COLOURS = "viridis"
LINES: dict[int, Literal["-", "--"]] = {1: "-", 2: "--"}


def figures(results: Results) -> dict[str, Figure]:
    """Return all figures by the names of their PNGs: a contour plot and a surface of each method, and the slices.

    Surfaces are those of the first seed. Empty where no landscape was computed.
    """
    found = measured(results)
    if not found:
        return {}
    surfaces = {method: _surface(results, min(by_seed), method) for method, by_seed in found.items()}
    levels = shared_levels(surfaces)
    drawn = {f"landscape_contour_{method}": contour(method, one, levels) for method, one in surfaces.items()}
    drawn |= {f"landscape_surface_{method}": surface(method, one, levels) for method, one in surfaces.items()}
    return drawn | {"landscape_slices": slices(results)}


def _surface(results: Results, seed: int, method: str) -> pd.DataFrame:
    """The loss, rows step_1, columns step_2."""
    table = read_csv(results.layout.surface(seed, method), ["step_1", "step_2", "loss"]).astype(float)
    return table.pivot(index="step_1", columns="step_2", values="loss")


def shared_levels(surfaces: Mapping[str, pd.DataFrame]) -> np.ndarray:
    """Return the levels, ascending, that hold the losses of all surfaces."""
    losses = np.concatenate([one.to_numpy().ravel() for one in surfaces.values()])
    return np.asarray(MaxNLocator(16).tick_values(losses.min(), losses.max()))


def contour(method: str, losses: pd.DataFrame, levels: np.ndarray) -> Figure:
    """Contours of one surface; the cross is the trained student."""
    figure = style.new_figure(4.3, WIDTH)
    panel = figure.subplots()
    first, second = losses.index.to_numpy(), losses.columns.to_numpy()
    filled = panel.contourf(second, first, losses, levels=levels, cmap=COLOURS)
    colours = ["white" if level < levels.mean() else style.INK for level in levels]
    lines = panel.contour(second, first, losses, levels=levels, colors=colours, linewidths=0.5, alpha=0.8)
    panel.clabel(lines, levels=levels[1::2], fontsize=8, fmt="%g")
    panel.plot(0, 0, "+", color=style.METHOD_COLOURS["roskd"], markersize=12, markeredgewidth=2.2)
    centre = losses.to_numpy()[len(first) // 2, len(second) // 2]
    panel.set_title(f"{METHODS[method].title}\n{centre:.2f} nats at the centre")
    panel.set_xlabel(STEP.format(2))
    panel.set_ylabel(STEP.format(1))
    panel.set_aspect("equal")
    figure.colorbar(filled, label=LOSS, ticks=levels[1::2])
    return figure


def surface(method: str, losses: pd.DataFrame, levels: np.ndarray) -> Figure:
    """One surface in perspective, its height and colours on the shared scale."""
    figure = style.new_figure(4.3, WIDTH)
    figure.set_layout_engine("none")  # it leaves no room for the names of slanting axes
    panel: Any = figure.add_axes((0.02, 0.06, 0.88, 0.88), projection="3d")
    second, first = np.meshgrid(losses.columns.to_numpy(), losses.index.to_numpy())
    panel.plot_surface(
        second, first, losses.to_numpy(), cmap=COLOURS, vmin=levels[0], vmax=levels[-1], rstride=1, cstride=1,
        edgecolor=(1, 1, 1, 0.35), linewidth=0.4,
    )  # fmt: skip
    panel.set_zlim(levels[0], levels[-1])
    panel.set_title(METHODS[method].title)
    panel.set_xlabel("step along direction 2")
    panel.set_ylabel("step along direction 1")
    panel.set_zlabel(LOSS)
    panel.view_init(elev=32, azim=-58)
    return figure


def slices(results: Results) -> Figure:
    """The loss along each direction, of every method, mean over seeds, in one axis; each seed as a faint line."""
    figure = style.new_figure(4.3, WIDTH)
    panel = figure.subplots()
    for method, by_seed in measured(results).items():
        tables = [
            read_csv(results.layout.slices(seed, method), ["direction", "step", "loss"]).astype(float)
            for seed in by_seed
        ]
        for direction, line in LINES.items():
            chosen = [table.loc[table["direction"] == direction] for table in tables]
            _line(panel, chosen, style.METHOD_COLOURS[method], line)
    _legend(panel, list(measured(results)))
    panel.set_xlabel("step along a direction (in filter lengths)")
    panel.set_ylabel(LOSS)
    panel.grid(axis="y")
    return figure


def _line(panel: Axes, by_seed: list[pd.DataFrame], colour: str, line: Literal["-", "--"]) -> None:
    steps, losses = by_seed[0]["step"].to_numpy(), np.stack([one["loss"].to_numpy() for one in by_seed])
    if len(losses) > 1:
        panel.plot(steps, losses.T, line, color=colour, linewidth=0.8, alpha=0.3)
    panel.plot(steps, losses.mean(axis=0), line, color=colour, linewidth=1.8)


def _legend(panel: Axes, methods: list[str]) -> None:
    """Colours are methods, lines directions."""
    handles = [Line2D([], [], color=style.METHOD_COLOURS[method], label=METHODS[method].title) for method in methods]
    handles += [
        Line2D([], [], color=style.INK, linestyle=line, label=f"direction {number}") for number, line in LINES.items()
    ]
    panel.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)
