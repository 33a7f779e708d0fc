"""Curves of the figures under attack over the budgets."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pipeline.distillation.methods import METHODS
from pipeline.evaluation.metrics import HEADLINES
from pipeline.report import style
from pipeline.report.plots import LABELS
from pipeline.report.results import Results
from pipeline.report.robustness import NORMS, Robustness, budget, load

MARKS = {"square": "s", "transfer": "^"}


def curves(results: Results) -> Figure | None:
    """Macro F1 and AUROC of every attacked method over the budgets of each norm; None where none was attacked.

    Solid: PGD, with the 95 % interval as a band and, from two seeds on, the standard deviation over seeds as bars.
    Dashed: FGSM. Marks: Square, and images transferred from Baseline I.
    """
    found = load(results)
    if found is None:
        return None
    figure = style.new_figure(3.1 * len(HEADLINES) + 0.9)
    panels = figure.subplots(len(HEADLINES), len(found.norms), sharey="row", squeeze=False)
    for line, metric in zip(panels, HEADLINES, strict=True):
        for panel, norm in zip(line, found.norms, strict=True):
            _panel(panel, found, norm, metric)
            panel.set_title(f"{LABELS[metric]} under attack in {NORMS[norm]}")
        line[0].set_ylabel(f"{LABELS[metric]} on attacked test images")
    for panel, norm in zip(panels[-1], found.norms, strict=True):
        unit = "largest change of a pixel" if norm == "linf" else "length of the perturbation, pixels in [0, 1]"
        panel.set_xlabel(f"eps: {unit}")
    figure.legend(handles=_legend(found), loc="outside lower center", ncols=3)
    return figure


def _legend(found: Robustness) -> list[Line2D]:
    """Colours are methods, lines and marks are attacks."""
    methods = [
        Line2D([], [], color=style.METHOD_COLOURS[name], linewidth=4, label=METHODS[name].title)
        for name in found.methods
    ]
    attacks: dict[str, dict[str, Any]] = {
        "PGD": {"linestyle": "-", "marker": "o"},
        "FGSM": {"linestyle": "--"},
        "Square (no gradients)": {"linestyle": "", "marker": MARKS["square"]},
        "from Baseline I": {"linestyle": "", "marker": MARKS["transfer"]},
    }
    return methods + [
        Line2D([], [], color=style.INK, markerfacecolor="white", label=label, **look) for label, look in attacks.items()
    ]


def _panel(panel: Axes, found: Robustness, norm: str, metric: str) -> None:
    budgets = found.budgets(norm)
    places = np.arange(len(budgets) + 1)
    for number, method in enumerate(found.methods):
        colour = style.METHOD_COLOURS[method]
        shifted = places + 0.04 * (number - (len(found.methods) - 1) / 2)
        rows = [found.row(method, "", "", 0, metric)] + [found.row(method, "pgd", norm, eps, metric) for eps in budgets]
        values, low, high, sd = (np.array([row[name] for row in rows]) for name in ("value", "low", "high", "sd"))
        panel.fill_between(shifted, low, high, color=colour, alpha=0.14, linewidth=0)
        panel.errorbar(shifted, values, np.nan_to_num(sd), color=colour, linewidth=1.8, marker="o", markersize=4.5)
        weak = [values[0]] + [found.row(method, "fgsm", norm, eps, metric)["value"] for eps in budgets]
        panel.plot(shifted, weak, "--", color=colour, linewidth=1.2)
        for attack, mark in MARKS.items() if metric == "f1_macro" else ():
            others = [found.row(method, attack, norm, eps, metric)["value"] for eps in budgets]
            panel.plot(shifted[1:], others, mark, color=colour, markerfacecolor="white", markersize=5.5)
    panel.set_xticks(places, ["clean", *(budget(norm, eps) for eps in budgets)])
    panel.set_ylim(-0.03, 1.03)
    panel.grid(axis="y")
