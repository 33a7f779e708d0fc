"""Stage `robustness_compare`: the attacked students side by side, with intervals and paired differences."""

import pandas as pd

from pipeline.common.layout import Layout
from pipeline.common.tables import read_csv, write_csv
from pipeline.data.prepared import read_report
from pipeline.distillation.methods import ordered
from pipeline.evaluation.attacked import SWITCH_COLUMNS, SWITCHED_COLUMNS, read_attacked
from pipeline.evaluation.robust_statistics import FIGURE_COLUMNS, ROBUST_COMPARISON_COLUMNS, robust_statistics
from pipeline.evaluation.trust import CHECK_COLUMNS
from pipeline.params.tree import Params


def run(params: Params, layout: Layout) -> None:
    """Write robustness.csv, robustness_comparisons.csv, robustness_switches.csv and trust_checks.csv into metrics/.

    They are empty where no student was attacked.
    """
    methods = ordered(set(params.robustness.methods) & set(params.methods))
    rows, comparisons, checks, switches = [], [], [], []
    for method in methods:
        for seed in params.seeds:
            outcomes = read_csv(layout.attack_checks(seed, method), CHECK_COLUMNS)
            switched = read_csv(layout.switched(seed, method), SWITCH_COLUMNS)
            switches.append(switched.assign(method=method, switched=pd.to_numeric(switched["switched"])))
            checks += [{"seed": seed, "method": method} | row for row in outcomes.to_dict("records")]
    if methods:
        answers = {
            method: [read_attacked(layout.attacked_logits(seed, method)) for seed in params.seeds] for method in methods
        }
        classes, seed = read_report(layout)["classes"], params.robustness.attacks.seed
        rows, comparisons = robust_statistics(params.task, answers, classes, seed)
    write_csv(layout.robust_figures, rows, FIGURE_COLUMNS)
    write_csv(layout.robust_comparisons, comparisons, ROBUST_COMPARISON_COLUMNS)
    write_csv(layout.robust_switches, _over_seeds(switches), SWITCHED_COLUMNS)
    write_csv(layout.trust_checks, checks, ("seed", "method", *CHECK_COLUMNS))


def _over_seeds(switches: list[pd.DataFrame]) -> pd.DataFrame:
    """The means over seeds and their standard deviations, NaN for one seed."""
    keys = [name for name in SWITCHED_COLUMNS if name not in ("switched", "sd")]
    if not switches:
        return pd.DataFrame(columns=list(SWITCHED_COLUMNS))
    by_key = pd.concat(switches).groupby(keys, sort=False)["switched"]
    return by_key.agg(switched="mean", sd="std").reset_index()
