"""Plots of what came out: figures with intervals, differences, classes, confusions and training curves."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.common.labels import indicator
from pipeline.common.layout import POOLS, Pool
from pipeline.distillation.methods import METHODS, SUBJECT, compared, ordered
from pipeline.evaluation.metrics import HEADLINES
from pipeline.report import heatmap, style
from pipeline.report.findings import COLUMNS, difference, number
from pipeline.report.results import IN_PLOTS, Results, over_seeds

LABELS = {"f1_macro": "macro F1", "auroc_macro": "macro AUROC", "loss": "supervised loss in nats"}
NONE = "none"


def bars(results: Results) -> Figure:
    """Macro F1 and AUROC of every method on the test split, with 95 % intervals where they were computed."""
    methods = results.methods
    figure = style.new_figure(0.36 * len(methods) + 1.1)
    panels = figure.subplots(1, len(HEADLINES), sharey=True)
    for panel, metric in zip(panels, HEADLINES, strict=True):
        for row, method in enumerate(methods):
            value = results.figure(method, metric).mean
            if not np.isfinite(value):
                panel.text(0.01, row, "undefined", va="center", color=style.FAINT)
                continue
            low, high = _interval(results, method, metric)
            panel.barh(row, value, height=0.66, color=style.METHOD_COLOURS[method])
            panel.plot([low, high], [row, row], color=style.INK, linewidth=1.3, marker="|", markersize=6)
            panel.text(np.nanmax([value, high]) + 0.015, row, number(value), va="center")
        panel.set_xlim(0, 1.1)
        panel.set_xticks(np.linspace(0, 1, 6))
        panel.set_xlabel(f"{LABELS[metric]} on the test split, with 95 % interval")
        panel.set_title(COLUMNS[metric])
        panel.tick_params(axis="y", length=0)
        panel.grid(axis="x")
    _method_axis(panels[0], methods)
    return figure


def _interval(results: Results, method: str, metric: str) -> tuple[float, float]:
    table = results.intervals
    keys = (table["method"] == method) & (table["checkpoint"] == METHODS[method].checkpoint)
    rows = table.loc[keys & (table["metric"] == metric)].to_dict("records")
    return (float(rows[0]["low"]), float(rows[0]["high"])) if rows else (np.nan, np.nan)


def _method_axis(panel: Axes, methods: Sequence[str]) -> None:
    panel.set_yticks(range(len(methods)), [METHODS[method].title for method in methods])
    panel.set_ylim(len(methods) - 0.5, -0.5)
    for label, method in zip(panel.get_yticklabels(), methods, strict=True):
        label.set_fontweight("bold" if method == SUBJECT else "normal")


def differences(results: Results) -> Figure | None:
    """RoS-KD minus every other method with 95 % intervals, hollow where none is shown; None with nothing to compare."""
    others = compared(results.methods)
    if not others or SUBJECT not in results.methods:
        return None
    figure = style.new_figure(0.32 * len(others) + 1.1)
    panels = figure.subplots(1, len(HEADLINES), sharey=True)
    for panel, metric in zip(panels, HEADLINES, strict=True):
        panel.axvline(0, color=style.INK, linewidth=1)
        for row, method in enumerate(others):
            found = difference(results, SUBJECT, method, metric)
            if found is None or not np.isfinite(found.value):
                continue
            colour = style.METHOD_COLOURS[method]
            face = colour if found.verdict in ("higher", "lower") else "white"
            panel.plot([found.low, found.high], [row, row], color=colour, linewidth=2.2, solid_capstyle="butt")
            panel.plot(found.value, row, "o", markersize=7, markeredgewidth=1.8, color=colour, markerfacecolor=face)
        reach = 1.12 * max(map(abs, (*panel.get_xlim(), 0.01)))
        panel.set_xlim(-reach, reach)
        panel.xaxis.set_major_locator(MaxNLocator(6))
        panel.set_xlabel(f"difference of {LABELS[metric]}: RoS-KD minus method")
        panel.set_title(f"{COLUMNS[metric]}: left of 0 RoS-KD is lower, right of 0 higher")
        panel.tick_params(axis="y", length=0)
        panel.grid(axis="x")
    _method_axis(panels[0], others)
    return figure


def class_auroc(results: Results) -> Figure:
    """AUROC of each of the most frequent classes and each method on the test split; no figure, no mark."""
    figures, methods = results.per_class("auroc"), results.methods
    shown = results.frequent(IN_PLOTS)
    figure = style.new_figure(0.42 * len(shown) + 1.5)
    panel = figure.subplots()
    shifts = np.linspace(-0.3, 0.3, len(methods)) if len(methods) > 1 else np.zeros(1)
    for method, shift in zip(methods, shifts, strict=True):
        keys = [(method, METHODS[method].checkpoint, results.classes[c]) for c in shown]
        values = [figures[key].mean if key in figures else np.nan for key in keys]
        panel.plot(
            values, np.arange(len(keys)) + shift, linestyle="", markersize=5.5, label=METHODS[method].title,
            marker="D" if method == SUBJECT else "o", color=style.METHOD_COLOURS[method],
        )  # fmt: skip
    for border in range(1, len(shown)):
        panel.axhline(border - 0.5, color="#E4E7EB", linewidth=0.8)
    positives = positives_in_test(results)
    panel.set_yticks(range(len(shown)), [f"{heatmap.short(results.classes[c])} (n = {positives[c]})" for c in shown])
    panel.set_ylim(len(shown) - 0.5, -0.5)
    panel.set_xlabel("AUROC on the test split (0.5 is chance)")
    panel.set_ylabel("class (n positive test images)")
    panel.grid(axis="x")
    figure.legend(loc="outside lower center", ncols=3)
    return figure


def positives_in_test(results: Results) -> list[int]:
    """Return how many test images each class has, by the published labels."""
    test = (results.samples["split"] == "test").to_numpy(dtype=bool)
    return results.published[test].sum(axis=0).tolist()


def confusion(results: Results, methods: Sequence[str]) -> Figure | None:
    """Confusion matrices of some methods side by side; None if none of them has stored predictions.

    multiclass: rows are the published class, columns the predicted one. multilabel: rows are the published findings
    of an image, columns the findings called at the tuned thresholds, with `none` for no finding; an image with several
    findings counts in several rows and columns. Shares of the row in percent, counts summed over seeds in brackets.
    """
    matrices = {method: found for method in methods if (found := confusion_counts(results, method)) is not None}
    if not matrices:
        return None
    names = [*results.classes, NONE] if results.params.task == "multilabel" else list(results.classes)
    figure = style.new_figure(style.WIDTH / 2 + 1.0)  # rotated names below, titles above
    panels = np.atleast_1d(figure.subplots(1, len(matrices), sharey=True))
    for panel, (method, (counts, totals)) in zip(panels, matrices.items(), strict=True):
        heatmap.draw(panel, counts, totals, [heatmap.short(name) for name in names], names)
        panel.set_xlabel("predicted label")
        panel.set_title(METHODS[method].title)
    panels[0].set_ylabel("published label")
    return figure


def confusion_counts(results: Results, method: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Return counts (rows published, columns predicted) and images per row, summed over seeds; None if not stored."""
    total: tuple[np.ndarray, np.ndarray] | None = None
    for seed, stored in results.predictions(method).items():
        truth = indicator(stored["test_targets"], len(results.classes))
        called = _called(results, method, seed, stored["test_logits"])
        if results.params.task == "multilabel":
            truth, called = (np.column_stack([flags, ~flags.any(axis=1)]) for flags in (truth, called))
        counts = truth.astype(np.int64).T @ called.astype(np.int64)
        rows = truth.sum(axis=0)
        total = (counts, rows) if total is None else (total[0] + counts, total[1] + rows)
    return total


def _called(results: Results, method: str, seed: int, logits: np.ndarray) -> np.ndarray:
    """Return the predicted classes, bool (N, C); findings at the thresholds of metrics/students.csv."""
    if results.params.task == "multiclass":
        return indicator(logits.argmax(axis=1), logits.shape[1])
    table = results.students
    rows = table.loc[
        (table["method"] == method) & (table["checkpoint"] == METHODS[method].checkpoint) & (table["split"] == "test")
        & (table["metric"] == "threshold") & (table["seed"].astype(int) == seed)
    ]  # fmt: skip
    tuned = dict(zip(rows["class"], rows["value"], strict=True))
    thresholds = np.array([tuned.get(name, 0.5) for name in results.classes])
    return 1 / (1 + np.exp(-logits.astype(np.float64))) >= thresholds


def student_curves(results: Results) -> Figure | None:
    """Validation F1 and AUROC of every student run over the epochs, mean over seeds; None without histories."""
    curves = results.curves.loc[(results.curves["split"] == "val") & results.curves["metric"].isin(HEADLINES)]
    if curves.empty:
        return None
    figure = style.new_figure(4.2)
    panels = figure.subplots(1, len(HEADLINES))
    for panel, metric in zip(panels, HEADLINES, strict=True):
        for method in ordered(curves["method"]):
            rows = curves.loc[(curves["method"] == method) & (curves["metric"] == metric)]
            line = style.METHOD_LINES.get(method, "-")
            _curve(panel, rows, style.METHOD_COLOURS[method], METHODS[method].title, line)
        _epoch_axis(panel, metric)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def teacher_curves(results: Results) -> Figure | None:
    """Validation figure of every teacher over the epochs, one panel per pool; None without histories."""
    metric = "f1_macro" if results.params.task == "multiclass" else "auroc_macro"
    curves = results.teacher_curves
    curves = curves.loc[(curves["split"] == "val") & (curves["metric"] == metric)]
    there = set(curves["pool"])
    pools: list[Pool] = [pool for pool in reversed(POOLS) if pool in there]
    if not pools:
        return None
    figure = style.new_figure(3.8)
    panels = np.atleast_1d(figure.subplots(1, len(pools), sharey=True))
    for panel, pool in zip(panels, pools, strict=True):
        networks = results.params.teacher_names("full")
        for k, name in enumerate(results.params.teacher_names(pool)):
            rows = curves.loc[(curves["pool"] == pool) & (curves["architecture"] == name)]
            partition, network = divmod(k, len(networks))
            colour = style.TEACHER_COLOURS[network % len(style.TEACHER_COLOURS)]
            _curve(panel, rows, colour, name, style.PARTITION_LINES[partition % len(style.PARTITION_LINES)])
        _epoch_axis(panel, metric)
        panel.set_title({"subset": "On their overlapping subsets", "full": "On all training data"}[pool])
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
    return figure


def _curve(panel: Axes, rows: pd.DataFrame, colour: str, label: str, line: str = "-") -> None:
    means = over_seeds(rows.sort_values("epoch"), ["epoch"])
    epochs, values = [key[0] for key in means], [figure.mean for figure in means.values()]
    marker = "o" if len(epochs) < 4 else ""
    panel.plot(epochs, values, line, color=colour, marker=marker, linewidth=1.6, label=label)


def _epoch_axis(panel: Axes, metric: str) -> None:
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    panel.set_xlabel("epoch")
    panel.set_ylabel(f"{LABELS[metric]} on validation")
    panel.grid(axis="y")
