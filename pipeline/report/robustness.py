"""What attacks leave of the students: a verdict in words, the trust checks, and the paper's Table II beside ours."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.common.tables import read_csv
from pipeline.distillation.methods import METHODS, SUBJECT, ordered
from pipeline.evaluation.attacked import SWITCHED_COLUMNS
from pipeline.evaluation.robust_statistics import FIGURE_COLUMNS, ROBUST_COMPARISON_COLUMNS
from pipeline.evaluation.trust import CHECK_COLUMNS, TITLES
from pipeline.report.findings import PAPER_DATA, PAPER_TABLES, Difference, groups_word, listed, number, signed
from pipeline.report.results import Results
from pipeline.report.tables import Row

NORMS = {"l2": "L2", "linf": "L∞"}
ATTACKS = {"fgsm": "FGSM", "pgd": "PGD", "square": "Square", "transfer": "transfer"}
PAPER_EPS = 0.005
"""The paper's 1.28 / 255 in L2."""
PAPER_METRICS = {"precision_macro": "precision", "recall_macro": "recall", "f1_macro": "f1"}
REFERENCE = "baseline_3"
"""The method whose fall in the paper's Table II is looked for among our budgets."""
TEXT = ("finding", "wanted", "method", "attack", "norm", "metric", "method_a", "method_b", "resampled", "check")


@dataclass(frozen=True)
class Robustness:
    """The tables of metrics/ about attacks, numbers as numbers.

    They are robustness.csv, robustness_comparisons.csv, trust_checks.csv and robustness_switches.csv.
    """

    figures: pd.DataFrame
    comparisons: pd.DataFrame
    checks: pd.DataFrame
    switches: pd.DataFrame

    @property
    def methods(self) -> list[str]:
        """The attacked methods, in the order of the tables."""
        return ordered(self.figures["method"])

    @property
    def norms(self) -> list[str]:
        """The norms with at least one budget."""
        there = set(self.figures["norm"])
        return [norm for norm in NORMS if norm in there]

    def budgets(self, norm: str) -> list[float]:
        """The budgets of a norm, ascending."""
        return sorted(set(self.figures.loc[self.figures["norm"] == norm, "eps"]))

    def row(self, method: str, attack: str, norm: str, eps: float, metric: str) -> Mapping[str, float]:
        """A figure with its columns sd, low and high; NaN where it was not measured. Attack "" are clean images."""
        table = self.figures
        keys = (table["method"] == method) & (table["attack"] == attack) & (table["metric"] == metric)
        rows = table.loc[keys & ((table["norm"] == norm) & (table["eps"] == eps) | (attack == ""))].to_dict("records")
        return {name: float(rows[0][name]) if rows else np.nan for name in ("value", "sd", "low", "high")}

    def difference(self, other: str, attack: str, norm: str, eps: float, metric: str) -> Difference | None:
        """SUBJECT minus another method under an attack, with seeds resampled too where that was done."""
        table = self.comparisons
        keys = (table["method_b"] == other) & (table["attack"] == attack) & (table["metric"] == metric)
        rows = table.loc[keys & (table["norm"] == norm) & (table["eps"] == eps)]
        both = rows["resampled"] == "groups+seeds"
        for one in (rows.loc[both] if both.any() else rows).to_dict("records"):
            return Difference(float(one["difference"]), float(one["low"]), float(one["high"]), float(one["p_holm"]))
        return None


def load(results: Results) -> Robustness | None:
    """Read the tables; None where no student was attacked."""
    layout = results.layout
    files = {
        layout.robust_figures: FIGURE_COLUMNS,
        layout.robust_comparisons: ROBUST_COMPARISON_COLUMNS,
        layout.trust_checks: ("seed", "method", *CHECK_COLUMNS),
        layout.robust_switches: SWITCHED_COLUMNS,
    }
    if not all(path.exists() for path in files):
        return None
    tables = [_numbers(read_csv(path, columns)) for path, columns in files.items()]
    return Robustness(*tables) if len(tables[0]) else None


def _numbers(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(**{name: pd.to_numeric(table[name]) for name in table.columns if name not in TEXT})


def budget(norm: str, eps: float) -> str:
    """Return a budget as text: `0.25`, or `4/255`."""
    return f"{eps:g}/255" if norm == "linf" else f"{eps:g}"


def sentences(results: Results, found: Robustness) -> list[str]:
    """Return how it was attacked, whether that can be trusted, and the verdicts."""
    return [
        *_verdicts(found),
        _trust_sentence(found),
        *_paper_sentences(results, found),
    ]


def attacks_sentence(results: Results, found: Robustness) -> str:
    """Return what was attacked and how hard, and what the intervals speak about."""
    own = results.params.robustness.attacks
    restarts = "1 restart" if own.restarts == 1 else f"{own.restarts} restarts"
    count = "all test images" if own.images is None else f"about {own.images:,} test images"
    groups = f"{found.figures['n_groups'].max():.0f} {groups_word(results.params)}"
    seeds = "seeds resampled, too" if (found.comparisons["resampled"] == "groups+seeds").any() else "seeds fixed"
    return (
        f"On {count} ({groups}), pixels in [0, 1]: FGSM, one step; PGD, {own.steps} steps from a random point, "
        f"{restarts}, the worst counts; Square, {own.queries:,} queries without gradients; transfer, PGD's images "
        f"against Baseline I. Shown: the 95 % interval of a paired bootstrap over {groups} ({seeds}) excludes 0, and "
        "the p-value, corrected after Holm for the budgets of the norm, is below 0.05."
    )


def _verdicts(found: Robustness) -> list[str]:
    """Where SUBJECT keeps more or less F1 under PGD than each other method: shown, or not shown."""
    if SUBJECT not in found.methods:
        return ["RoS-KD was not attacked, so nothing is said about it."]
    told = []
    for other in found.methods:
        for norm in found.norms if other != SUBJECT else ():
            by_eps = {eps: found.difference(other, "pgd", norm, eps, "f1_macro") for eps in found.budgets(norm)}
            verdicts = {eps: one.verdict for eps, one in by_eps.items() if one is not None}
            if verdicts:
                told.append(_verdict(METHODS[other].title, norm, verdicts))
    return told


def _verdict(title: str, norm: str, verdicts: Mapping[float, str]) -> str:
    """`Under PGD in L2 RoS-KD keeps more F1 than X at eps 0.25 and 1: shown; at eps 0.05: not shown.`"""
    more, less = ([eps for eps, one in verdicts.items() if one == wanted] for wanted in ("higher", "lower"))
    rest = [eps for eps, one in verdicts.items() if one not in ("higher", "lower")]
    parts = []
    if more:
        parts.append(f"keeps more F1 than {title} at {_listed(norm, more)}: shown")
    if less:
        parts.append(f"keeps less F1 than {title} at {_listed(norm, less)}: shown")
    if rest:
        parts.append(("" if parts else f"keeps more F1 than {title} ") + f"at {_listed(norm, rest)}: not shown")
    return f"Under PGD in {NORMS[norm]} RoS-KD {'; '.join(parts)}."


def _listed(norm: str, budgets: list[float]) -> str:
    """`eps 0.05, 0.25 and 1`."""
    return "eps " + listed([budget(norm, eps) for eps in budgets])


def _trust_sentence(found: Robustness) -> str:
    failed = found.checks.loc[found.checks["passed"] != 1]
    if failed.empty:
        return "All trust checks passed: nothing hints at gradients that are hidden, or at attacks that are too weak."
    named = sorted({f"{METHODS[str(one)].title}" for one in failed["method"]})
    return (
        f"{len(failed)} of {len(found.checks)} trust checks failed ({', '.join(named)}): robustness that is measured "
        "there must not be believed. Raise the steps and restarts of PGD; if that does not help, gradients are hidden."
    )


def _paper_sentences(results: Results, found: Robustness) -> list[str]:
    """What the paper's own budget does here, and which budget does what the paper reports."""
    if REFERENCE not in found.methods or "l2" not in found.norms:
        return []
    title, told = METHODS[REFERENCE].title, []
    before = found.row(REFERENCE, "", "", 0, "f1_macro")["value"]
    paper = _paper(results)[REFERENCE, "PGD"]
    if PAPER_EPS in found.budgets("l2"):
        after = found.row(REFERENCE, "pgd", "l2", PAPER_EPS, "f1_macro")["value"]
        told.append(
            f"At the paper's eps of 1.28/255 = {PAPER_EPS:g} in L2, PGD takes {title} from F1 {before:.3f} to "
            f"{after:.3f}; the paper reports a fall from {paper['before']['f1']:.3f} to {paper['after']['f1']:.3f}."
        )
    return told


def paper_like(results: Results, found: Robustness) -> float | None:
    """Return the L2 budget at which PGD's share of REFERENCE's F1 is nearest to that of the paper's Table II."""
    if REFERENCE not in found.methods or "l2" not in found.norms:
        return None
    paper = _paper(results)[REFERENCE, "PGD"]
    wanted = paper["after"]["f1"] / paper["before"]["f1"]
    before = found.row(REFERENCE, "", "", 0, "f1_macro")["value"]
    if not before > 0:
        return None
    left = {eps: found.row(REFERENCE, "pgd", "l2", eps, "f1_macro")["value"] / before for eps in found.budgets("l2")}
    return min(left, key=lambda eps: abs(left[eps] - wanted))


def _paper(results: Results) -> dict[tuple[str, str], dict[str, dict[str, float]]]:
    """The paper's Table II of this task: {(method, attack): {phase: {metric: value}}}."""
    table = pd.read_csv(PAPER_TABLES)
    table = table.loc[(table["table"] == "II") & (table["task"] == PAPER_DATA[results.params.task])]
    found: dict[tuple[str, str], dict[str, dict[str, float]]] = {}
    for row in table.to_dict("records"):
        own = found.setdefault((str(row["setting"]), str(row["attack"])), {})
        own.setdefault(str(row["phase"]), {})[str(row["metric"])] = float(row["value"])
    return found


def table_two(results: Results, found: Robustness) -> list[Row]:
    """Rows in the shape of the paper's Table II at one or two L2 budgets: precision, recall, F1 before and after.

    The budgets: the paper's where it was measured, and that which does to REFERENCE's F1 what the paper reports. On the
    right the paper's own figures after the attack.
    """
    if "l2" not in found.norms:
        return []
    chosen = {eps for eps in (PAPER_EPS, paper_like(results, found)) if eps in found.budgets("l2")}
    paper, rows = _paper(results), []
    for eps in sorted(chosen or {found.budgets("l2")[-1]}):
        for attack in ("pgd", "fgsm"):
            for method in found.methods:
                cells = [
                    ATTACKS[attack],
                    f"{eps:g}",
                    *_cells(found, method, "", eps),
                    *_cells(found, method, attack, eps),
                ]
                own = paper.get((method, ATTACKS[attack]), {}).get("after", {})
                cells += [number(own.get(metric, np.nan)) for metric in PAPER_METRICS.values()]
                rows.append(Row(METHODS[method].title, cells))
    return rows


def _cells(found: Robustness, method: str, attack: str, eps: float) -> Iterable[str]:
    rows = [found.row(method, attack, "l2", eps, metric) for metric in PAPER_METRICS]
    return [number(row["value"], row["sd"]) for row in rows]


def check_rows(found: Robustness) -> list[Row]:
    """One row per check and norm; for each method a tick or a cross, and the worst value over the seeds."""
    rows = []
    for name, title in TITLES.items():
        own = found.checks.loc[found.checks["check"] == name]
        for norm in dict.fromkeys(own["norm"]):
            cells = [
                _outcome(own.loc[(own["norm"] == norm) & (own["method"] == method)], norm) for method in found.methods
            ]
            rows.append(Row(title + (f", {NORMS[norm]}" if norm else ""), cells))
    return rows


def _outcome(outcomes: pd.DataFrame, norm: str) -> str:
    """`✓ −0.063 at 0.25`: by how much of the accuracy the other attack is ahead where it is most."""
    if outcomes.empty:
        return "–"
    passed, n = int((outcomes["passed"] == 1).sum()), len(outcomes)
    worst = outcomes.sort_values("value", na_position="first").to_dict("records")[-1]
    value, eps = float(worst["value"]), float(worst["eps"])
    text = f"{signed(value)} at {budget(norm, eps)}" if norm else f"{value:.1%}"
    seeds = f" ({passed} of {n} seeds)" if n > 1 else ""
    return f"{'✓' if passed == n else '✗'} {text}{seeds}".replace("-", "−")


def curve_rows(found: Robustness) -> list[Row]:
    """Macro F1 of every method under every attack, one row per norm and budget."""
    rows = []
    for norm in found.norms:
        for eps in found.budgets(norm):
            cells = [budget(norm, eps)]
            for method in found.methods:
                cells += [number(found.row(method, attack, norm, eps, "f1_macro")["value"]) for attack in ATTACKS]
            rows.append(Row(NORMS[norm], cells))
    return rows


def switch_budgets(found: Robustness) -> list[str]:
    """Return the heads of the columns of `switch_rows` behind the method: clean images, then every budget."""
    return [f"{NORMS[norm]} {budget(norm, eps)}" if norm else "clean" for norm, eps in _places(found)]


def _places(found: Robustness) -> list[tuple[str, float]]:
    """The norms and budgets of switched findings, those of clean images first."""
    return [("", 0.0), *((norm, eps) for norm in found.norms for eps in found.budgets(norm))]


def switch_rows(found: Robustness) -> list[Row]:
    """One row per finding, direction and method: the share of the images for which it is switched, at every budget."""
    rows = []
    for (finding, wanted, method), own in found.switches.groupby(["finding", "wanted", "method"], sort=False):
        n_images = int(own["n_images"].iloc[0])
        goal = f"called in {n_images:,} without it" if wanted == "present" else f"hidden in {n_images:,} with it"
        by_budget = {(one["norm"], one["eps"]): one for one in own.to_dict("records")}
        shares = [number(by_budget[place]["switched"], by_budget[place]["sd"]) for place in _places(found)]
        rows.append(Row(str(finding), [goal, METHODS[str(method)].title, *shares]))
    return rows
