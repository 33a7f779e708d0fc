"""Stage `robustness_compare`: the attacked students side by side, with intervals and paired differences."""

from pipeline.common.layout import Layout
from pipeline.common.tables import read_csv, write_csv
from pipeline.data.prepared import read_report
from pipeline.distillation.methods import ordered
from pipeline.evaluation.attacked import read_attacked
from pipeline.evaluation.robust_statistics import FIGURE_COLUMNS, ROBUST_COMPARISON_COLUMNS, robust_statistics
from pipeline.evaluation.trust import CHECK_COLUMNS
from pipeline.params.tree import Params


def run(params: Params, layout: Layout) -> None:
    """Write metrics/robustness.csv, robustness_comparisons.csv and trust_checks.csv; empty where none was attacked."""
    methods = ordered(set(params.robustness.methods) & set(params.methods))
    rows, comparisons, checks = [], [], []
    for method in methods:
        for seed in params.seeds:
            outcomes = read_csv(layout.attack_checks(seed, method), CHECK_COLUMNS)
            checks += [{"seed": seed, "method": method} | row for row in outcomes.to_dict("records")]
    if methods:
        answers = {
            method: [read_attacked(layout.attacked_logits(seed, method)) for seed in params.seeds] for method in methods
        }
        classes, seed = read_report(layout)["classes"], params.robustness.attacks.seed
        rows, comparisons = robust_statistics(params.task, answers, classes, seed)
    write_csv(layout.robust_figures, rows, FIGURE_COLUMNS)
    write_csv(layout.robust_comparisons, comparisons, ROBUST_COMPARISON_COLUMNS)
    write_csv(layout.trust_checks, checks, ("seed", "method", *CHECK_COLUMNS))
