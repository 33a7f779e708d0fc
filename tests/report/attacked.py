"""The tables of attacked students in miniature: Baseline III falls as in the paper at eps 0.25, RoS-KD less."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.common.layout import Layout
from pipeline.evaluation.attacked import ACCURACY, FIGURES, SWITCHED_COLUMNS
from pipeline.evaluation.robust_statistics import FIGURE_COLUMNS, ROBUST_COMPARISON_COLUMNS
from pipeline.evaluation.trust import CHECK_COLUMNS

BUDGETS = {"l2": [0.005, 0.25, 1.0], "linf": [1.0, 4.0]}
KEPT = {"baseline_3": [0.7, 0.31, 0.05], "roskd": [0.74, 0.6, 0.2]}
"""Macro F1 under PGD at the budgets of a norm, in their order."""
CLEAN_F1 = {"baseline_3": 0.7, "roskd": 0.75}
DIFFERENCES = {
    # norm and eps: difference, low, high, p after Holm
    ("l2", 0.005): (0.04, -0.01, 0.09, 0.2), ("l2", 0.25): (0.29, 0.2, 0.38, 0.01), ("l2", 1.0): (0.15, 0.1, 0.2, 0.01),
    ("linf", 1.0): (0.04, 0.01, 0.07, 0.06), ("linf", 4.0): (0.29, 0.2, 0.3, 0.02),
}  # fmt: skip


def write_attacked(
    layout: Layout, seeds: tuple[int, ...] = (0,), failed: Mapping[str, str] | None = None, without: str = "",
    budgets: Mapping[str, list[float]] = BUDGETS, switches: tuple[str, ...] = (),
) -> None:  # fmt: skip
    """Write metrics/robustness.csv and the tables beside it.

    `failed`: {method: check}; `without`: a method; `switches`: findings, an eighth wrong without an attack, five with.
    """
    methods = [name for name in KEPT if name != without]
    rows, differences, checks = [], [], []
    spread = {"sd": 0.01 if len(seeds) > 1 else np.nan, "n_groups": 9, "n_seeds": len(seeds)}
    for method in methods:
        cells = [("", "", 0.0, CLEAN_F1[method])]
        for norm, own in budgets.items():
            for place, eps in enumerate(own):
                value = KEPT[method][place]
                cells += [(attack, norm, eps, value + plus) for attack, plus in
                          (("fgsm", 0.1), ("pgd", 0.0), ("square", 0.15), ("transfer", 0.2))]  # fmt: skip
        for attack, norm, eps, value in cells:
            key = {"method": method, "attack": attack, "norm": norm, "eps": eps}
            bounds = {"low": value - 0.05, "high": value + 0.05} if attack in ("", "fgsm", "pgd") else {}
            rows += [key | {"metric": metric, "value": value} | spread | bounds for metric in (*FIGURES, ACCURACY)]
        for seed in seeds:
            for name in ("pgd_at_least_fgsm", "monotone", "square_not_stronger", "gradients"):
                norms = ("",) if name == "gradients" else tuple(budgets)
                bad = (failed or {}).get(method) == name
                checks += [
                    (seed, method, name, norm, 0.25, 0.3 if bad else -0.125, 0.01, int(not bad)) for norm in norms
                ]
    for (norm, eps), (value, low, high, p_holm) in DIFFERENCES.items() if not without else ():
        for metric in ("f1_macro", "auroc_macro"):
            differences.append(
                (
                    "pgd",
                    norm,
                    eps,
                    "roskd",
                    "baseline_3",
                    metric,
                    value,
                    low,
                    high,
                    p_holm / 2,
                    p_holm,
                    9,
                    len(seeds),
                    "groups",
                )
            )
    write(layout.robust_figures, rows, FIGURE_COLUMNS)
    write(layout.robust_comparisons, differences, ROBUST_COMPARISON_COLUMNS)
    write(layout.trust_checks, checks, ("seed", "method", *CHECK_COLUMNS))
    switched = [
        (method, switch, wanted, norm, eps, 7, 0.125 + 0.5 * bool(norm), spread["sd"])
        for switch in switches
        for wanted in ("present", "absent")
        for method in methods
        for norm, eps in [("", 0.0), *((norm, eps) for norm, own in budgets.items() for eps in own)]
    ]
    write(layout.robust_switches, switched, SWITCHED_COLUMNS)


def write(path: Path, rows: list, columns: tuple[str, ...]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows, columns=list(columns)).to_csv(path, index=False)
