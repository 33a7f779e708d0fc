"""How sure figures under attack are, and the differences between methods: a paired bootstrap over test groups."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from models.names import Task
from pipeline.common.seeds import stream
from pipeline.distillation.methods import SUBJECT
from pipeline.evaluation.attacked import ACCURACY, CLEAN, FIGURES, Attack, Attacked, Norm, Setting, robust_figures
from pipeline.evaluation.bootstrap import Draws, Figures, draw_kinds, resample
from pipeline.evaluation.comparisons import COMPARISON_COLUMNS, bootstrap_interval, compare

Row = dict[str, Any]
KEYS = ("attack", "norm", "eps")
FIGURE_COLUMNS = ("method", *KEYS, "metric", "value", "sd", "low", "high", "n_groups", "n_seeds")
"""The columns of metrics/robustness.csv."""
ROBUST_COMPARISON_COLUMNS = (*KEYS, *COMPARISON_COLUMNS)
"""The columns of metrics/robustness_comparisons.csv."""
WITH_INTERVALS: tuple[Attack, ...] = ("fgsm", "pgd")
"""The attacks whose figures are curves and comparisons; the others check them."""
COMPARED = ("f1_macro", "auroc_macro")


def robust_statistics(
    task: Task,
    answers: Mapping[str, Sequence[Attacked]],
    classes: Sequence[str],
    seed: int,
    *,
    resamples: int = 1000,
) -> tuple[list[Row], list[Row]]:
    """Return each method's figures under each attack, and SUBJECT's minus those of every other method.

    `answers`: of each method, by seed, on the same images. Figures are means over seeds. The budgets of one attack and
    norm are one family, whose p-values are corrected together. From five seeds on, comparisons with the seeds resampled
    too follow those with the seeds fixed. `seed` is that of the resamples.
    """
    first, n_seeds = next(iter(answers.values()))[0], len(next(iter(answers.values())))
    kinds = draw_kinds(first.groups, n_seeds, stream(seed, "bootstrap of attacks", 0), resamples=resamples)
    rows: list[Row] = []
    figures: dict[tuple[str, Setting], Figures] = {}
    for method, by_seed in answers.items():
        for setting in by_seed[0].logits:
            key: Row = {"method": method} | dict(zip(KEYS, setting, strict=True))
            if setting == CLEAN or setting.attack in WITH_INTERVALS:
                figures[method, setting] = _resampled(task, by_seed, setting, kinds[0])
            single = [
                robust_figures(task, one.logits[setting], one.targets, classes, one.thresholds) for one in by_seed
            ]
            for metric in (*FIGURES, ACCURACY):
                values = [one[metric] for one in single]
                row = key | {"metric": metric, "value": float(np.mean(values))}
                row["sd"] = float(np.std(values, ddof=1)) if n_seeds > 1 else np.nan
                if metric in figures.get((method, setting), {}):
                    interval = asdict(bootstrap_interval(figures[method, setting][metric], kinds[-1]))
                    row |= {name: interval[name] for name in ("low", "high", "n_groups", "n_seeds")}
                rows.append(row)
    others = [method for method in answers if method != SUBJECT]
    pairs = [(SUBJECT, other) for other in others] if SUBJECT in answers else []
    return rows, [row for draws in kinds for pair in pairs for row in _differences(figures, pair, draws)]


def _resampled(task: Task, by_seed: Sequence[Attacked], setting: Setting, draws: Draws) -> Figures:
    thresholds = [one.thresholds for one in by_seed if one.thresholds is not None]
    logits = [one.logits[setting] for one in by_seed]
    return resample(task, logits, by_seed[0].targets, draws, metrics=FIGURES, thresholds=thresholds or None)


def _differences(figures: Mapping[tuple[str, Setting], Figures], pair: tuple[str, str], draws: Draws) -> list[Row]:
    """One family for each attack and norm, and one of the clean images alone."""
    families: dict[tuple[str, Norm | str], list[Setting]] = {}
    for method, setting in figures:
        if method == pair[0]:
            families.setdefault((setting.attack, setting.norm), []).append(setting)
    found: list[Row] = []
    for own in families.values():
        named = {
            f"{method} {setting.key}": {metric: figures[method, setting][metric] for metric in COMPARED}
            for setting in own
            for method in pair
        }
        by_key = {f"{pair[0]} {setting.key}": setting for setting in own}
        compared = compare(named, [(f"{pair[0]} {one.key}", f"{pair[1]} {one.key}") for one in own], draws)
        for row in compared:
            setting = by_key[row["method_a"]]
            found.append(dict(zip(KEYS, setting, strict=True)) | row | {"method_a": pair[0], "method_b": pair[1]})
    return found
