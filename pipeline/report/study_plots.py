"""Pictures of studies: curves over what a grid varies, and what Optuna draws of a search."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import optuna
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter
from optuna.trial import TrialState

from pipeline.distillation.methods import METHODS
from pipeline.report import style

METRICS = {"f1_macro": "macro F1", "auroc_macro": "macro AUROC"}
TEACHERS = ("teachers.architectures", "teachers.heads")
"""Lists of as many values as there are teachers."""
LOG_FROM = 20
"""Ratio of the largest to the smallest value from which an axis is logarithmic."""


def main_rows(summary: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of each method's own checkpoint: the last epoch, RoS-KD's smoothed weights."""
    own = summary["method"].map({name: method.checkpoint for name, method in METHODS.items()})
    return summary.loc[summary["checkpoint"] == own]


def varied(summary: pd.DataFrame, factors: Sequence[str]) -> list[str]:
    """Return the factors that take more than one value, the one for the x axis first."""
    many = [name for name in factors if summary[name].nunique() > 1]
    return sorted(many, key=lambda name: (not _is_numeric(name, summary[name]), -summary[name].nunique()))


def grid_figure(summary: pd.DataFrame, factors: Sequence[str], *, paired: bool = True) -> Figure:
    """Draw every method's test figures with their 95 % intervals over the first varied factor, a row for the others.

    `summary`: the columns of a study's summary.csv; `factors`: those of them that the grid sets. A grid that sets one
    cell alone is drawn as bars: of each run, smoothed and not, or where not `paired` of each method.
    """
    names = varied(summary, factors)
    with mpl.rc_context(style.RC):
        return _grid_figure(summary, names) if names else _bars_figure(summary, paired)


def runs_are_there(summary: pd.DataFrame) -> bool:
    """Whether each method's own run is among the methods, so that bars of runs, smoothed and not, show all of them."""
    methods = set(summary["method"])
    return {METHODS[name].run for name in methods} <= methods


def _grid_figure(summary: pd.DataFrame, names: list[str]) -> Figure:
    rows, others = main_rows(summary), names[1:]
    panels_of = [key for key, _ in rows.groupby(others, sort=False)] if others else [()]
    figure = style.new_figure(2.9 * len(panels_of) + 0.8)
    panels = figure.subplots(len(panels_of), len(METRICS), squeeze=False, sharex=True)
    for row, key in enumerate(panels_of):
        chosen = rows
        for name, value in zip(others, key, strict=True):
            chosen = chosen.loc[chosen[name] == value]
        for panel, metric in zip(panels[row], METRICS, strict=True):
            _curves(panel, chosen.loc[chosen["metric"] == metric], names[0])
            panel.set_ylabel(f"{METRICS[metric]}, test split")
            panel.set_title(", ".join(f"{name} {value}" for name, value in zip(others, key, strict=True)))
    for panel in panels[-1]:
        panel.set_xlabel("number of teachers K" if names[0] in TEACHERS else names[0])
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def _curves(panel: Axes, rows: pd.DataFrame, factor: str) -> None:
    """One line per method; intervals are side by side, so that they do not overlap."""
    levels = list(dict.fromkeys(rows[factor]))
    numeric = _is_numeric(factor, rows[factor])
    places = {level: _number(factor, level) if numeric else float(i) for i, level in enumerate(levels)}
    values = sorted(places.values())
    logarithmic = numeric and values[0] > 0 and values[-1] / values[0] >= LOG_FROM
    methods = list(dict.fromkeys(rows["method"]))
    step = 0.012 * (values[-1] - values[0] or 1)
    for number, method in enumerate(methods):
        own = rows.loc[rows["method"] == method]
        x = np.array([places[level] for level in own[factor]])
        order = np.argsort(x, kind="stable")
        shift = (number - (len(methods) - 1) / 2) * step
        x = x * 10 ** (0.015 * (number - (len(methods) - 1) / 2)) if logarithmic else x + shift
        y, low, high = (own[name].to_numpy(dtype=float)[order] for name in ("value", "low", "high"))
        panel.errorbar(
            x[order], y, yerr=[np.maximum(y - low, 0), np.maximum(high - y, 0)], marker="o", markersize=4,
            linewidth=1.5, elinewidth=0.9, capsize=2, color=style.METHOD_COLOURS[method], label=METHODS[method].title,
            linestyle=style.METHOD_LINES.get(method, "-") if numeric else "",
        )  # fmt: skip
    if logarithmic:
        panel.set_xscale("log")
    if not numeric or factor in TEACHERS:
        panel.set_xticks(list(places.values()), [f"{v:g}" for v in places.values()] if numeric else levels)
    panel.grid(axis="y")


def _bars_figure(summary: pd.DataFrame, paired: bool) -> Figure:
    """Bars of one cell: every method's own weights, or if `paired` every run with the last weights and the smoothed."""
    methods = [name for name in dict.fromkeys(summary["method"]) if METHODS[name].run == name or not paired]
    figure = style.new_figure(0.5 * len(methods) + 1.4)
    panels = figure.subplots(1, len(METRICS), sharey=True)
    for panel, metric in zip(panels, METRICS, strict=True):
        rows = summary.loc[summary["metric"] == metric].set_index(["method", "checkpoint"])
        for place, method in enumerate(methods):
            pair = ((-0.2, "last", 0.45), (0.2, "smoothed", 1.0))
            for shift, checkpoint, alpha in pair if paired else ((0.0, METHODS[method].checkpoint, 1.0),):
                found: Any = rows.loc[(method, checkpoint)]
                colour = style.METHOD_COLOURS[method]
                panel.barh(place + shift, found["value"], height=0.36, color=colour, alpha=alpha)
                panel.plot([found["low"], found["high"]], [place + shift] * 2, color=style.INK, linewidth=1.2)
                panel.annotate(
                    f"{found['value']:.3f}", (found["high"], place + shift), xytext=(4, 0),
                    textcoords="offset points", va="center", fontsize=8,
                )  # fmt: skip
        panel.set_xlabel(f"{METRICS[metric]} on the test split, with 95 % interval")
        panel.grid(axis="x")
    panels[0].set_yticks(range(len(methods)), [METHODS[method].title for method in methods])
    panels[0].set_ylim(len(methods) - 0.5, -0.5)
    return figure


def search_figures(study: optuna.Study, metric: str) -> dict[str, Figure]:
    """Return Optuna's pictures of a search by name; those that its trials do not allow are left out."""
    from optuna.visualization import matplotlib as drawn

    target = f"validation {metric}"
    drawing: dict[str, tuple[Callable[[], Any], float]] = {
        "history": (lambda: drawn.plot_optimization_history(study, target_name=target), 4.0),
        "slice": (lambda: drawn.plot_slice(study, target_name=target), 3.6),
    }
    if len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))) > 1:
        drawing["importance"] = (lambda: drawn.plot_param_importances(study, target_name=target), 3.4)
        drawing["contour"] = (
            lambda: drawn.plot_contour(study, params=_two_most_important(study), target_name=target), 5.2
        )  # fmt: skip
    if any(trial.intermediate_values for trial in study.trials):
        drawing["learning"] = (lambda: drawn.plot_intermediate_values(study), 4.2)
    found = {}
    mpl.use("Agg")
    with mpl.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, (draw, height) in drawing.items():
            try:
                axes = np.atleast_1d(draw())
            except (RuntimeError, ValueError):  # too few trials, or all of one value
                continue
            figure = axes.flat[0].figure
            figure.set_size_inches(style.WIDTH, height)
            for axis in axes.flat:
                axis.set_title("")
                axis.set_title("", loc="left")
                axis.set_xlabel(axis.get_xlabel().rpartition(".")[2])
                axis.xaxis.set_minor_formatter(NullFormatter())
            if name in ("history", "learning"):
                axes.flat[0].xaxis.set_major_locator(MaxNLocator(integer=True))
            if name == "learning":
                axes.flat[0].set(xlabel="epoch", ylabel=target)
                if legend := axes.flat[0].get_legend():  # Optuna draws none for one trial
                    legend.remove()
            figure.suptitle("")
            if name == "slice":  # a layout would forget the place of its colour bar
                figure.subplots_adjust(left=0.07, right=0.93, bottom=0.17, top=0.97, wspace=0.12)
                figure.axes[-1].set_position((0.945, 0.17, 0.012, 0.8))
            else:
                figure.tight_layout()
            found[name] = figure
    return found


def _two_most_important(study: optuna.Study) -> list[str]:
    """The names of two parameters; raises ValueError where the search has one alone."""
    first, second, *_ = optuna.importance.get_param_importances(study)
    return [first, second]


def _is_numeric(factor: str, values: pd.Series) -> bool:
    return factor in TEACHERS or bool(pd.to_numeric(values, errors="coerce").notna().all())


def _number(factor: str, value: str) -> float:
    """A value's place on the axis; a list of networks counts as many."""
    return float(value.count("+") + 1) if factor in TEACHERS else float(value)
