"""What may be said about the figures: differences with their intervals, and the sentences around the table."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from models.names import Task
from pipeline.distillation.methods import METHODS, SUBJECT, compared, ranked
from pipeline.params.tree import Params
from pipeline.report.results import IN_PLOTS, IN_SHEET, Results  # noqa: F401

COLUMNS = {"precision_macro": "Precision", "recall_macro": "Recall", "f1_macro": "F1", "auroc_macro": "AUROC"}
"""The columns of the main table that are compared; expected calibration error is beside them."""

SIGNIFICANCE = 0.05
"""A difference is shown where its p-value after Holm's correction is below this."""
TABLE_COLUMNS = COLUMNS | {"ece": "ECE"}

PAPER_TABLES = Path(__file__).with_name("paper_tables.csv")
PAPER_DATA: dict[Task, str] = {"multiclass": "lesion", "multilabel": "cardio"}
GROUP_WORDS = {"isic2019": ("lesion", "lesions"), "chestxray14": ("patient", "patients")}
"""What a group is in the sources that say so, one and many; the phantom draws both kinds."""


@dataclass(frozen=True)
class Difference:
    """Difference of a figure between two methods, first minus second; NaN bounds where no interval was computed.

    `p_holm` is its p-value after Holm's correction, NaN where there is none.
    """

    value: float
    low: float = np.nan
    high: float = np.nan
    p_holm: float = np.nan

    @property
    def verdict(self) -> str:
        """`higher` or `lower`: the interval excludes 0 and p after Holm is below 0.05; else `not shown`.

        `untested` where there is no interval or no p-value.
        """
        if not np.isfinite([self.low, self.high, self.p_holm]).all():
            return "untested"
        if self.p_holm >= SIGNIFICANCE or self.low <= 0 <= self.high:
            return "not shown"
        return "higher" if self.low > 0 else "lower"

    @property
    def text(self) -> str:
        """The difference with its interval if there is one, as `+0.021 [-0.004, +0.046]`."""
        if not np.isfinite(self.value):
            return "undefined"
        if not np.isfinite([self.low, self.high]).all():
            return signed(self.value)
        return f"{signed(self.value)} [{signed(self.low)}, {signed(self.high)}]"


def signed(value: float) -> str:
    """Return a number with its sign and three decimals; what rounds to zero has no sign."""
    text = f"{value:+.3f}"
    return "0.000" if text in ("+0.000", "-0.000") else text


def number(mean: float, sd: float = np.nan, *, separator: str = " ± ") -> str:
    """Return `0.713 ± 0.012`, the bare mean without a standard deviation, and nothing for an undefined figure."""
    if not np.isfinite(mean):
        return ""
    return f"{mean:.3f}{separator}{sd:.3f}" if np.isfinite(sd) else f"{mean:.3f}"


def difference(results: Results, method: str, other: str, metric: str) -> Difference | None:
    """Return `method` minus `other` on the test split; None if either has no such figure.

    The interval comes from metrics/comparisons.csv, whichever way round the pair is there, with seeds resampled
    if they were; a pair that was not compared has the bare difference of the means over seeds.
    """
    table = results.compared
    for first, second, sign in ((method, other, 1), (other, method, -1)):
        rows = table.loc[
            (table["method_a"] == first) & (table["method_b"] == second) & (table["metric"] == metric)
        ].to_dict("records")
        if rows:
            value, low, high = (sign * float(rows[0][name]) for name in ("difference", "low", "high"))
            return Difference(value, min(low, high), max(low, high), float(rows[0]["p_holm"]))
    if not {method, other} <= set(results.methods):
        return None
    return Difference(results.figure(method, metric).mean - results.figure(other, metric).mean)


def paper_figures(task: Task) -> dict[str, tuple[float, ...]]:
    """Return precision, recall and F1 of each method in the paper's Table I, on its own data set of the task."""
    table = pd.read_csv(PAPER_TABLES)
    table = table.loc[(table["table"] == "I") & (table["task"] == PAPER_DATA[task])]
    wide = table.pivot(index="setting", columns="metric", values="value")[["precision", "recall", "f1"]]
    return {str(row[0]): tuple(map(float, row[1:])) for row in wide.itertuples()}


def groups_word(params: Params, *, one: bool = False) -> str:
    """Return what the images are grouped by: lesions, patients, or, in tables and in MedMNIST, groups."""
    like = {"multiclass": "isic2019", "multilabel": "chestxray14"}[params.task]
    source = like if params.data.source == "phantom" else params.data.source
    return GROUP_WORDS.get(source, ("group", "groups"))[0 if one else 1]


def source_name(params: Params) -> str:
    """Return the name of the data set, with a word of warning where nothing in it is real."""
    names = {
        "phantom": "phantom (drawn images, not real ones)",
        "medmnist": f"medmnist {params.data.medmnist.dataset}",
        "table": f"table {params.data.table.file}",
    }
    return names.get(params.data.source, params.data.source)


def data_sentence(results: Results) -> str:
    """Return on what the figures were measured."""
    params = results.params
    test, train = (results.samples.loc[results.samples["split"] == split] for split in ("test", "train"))
    groups = f"{test['group_id'].nunique()} {groups_word(params)}"
    return (
        f"Test split of {source_name(params)}: {len(test)} images of {groups}, "
        f"{params.data.image_size} px; labels as published. Label noise in train and val: {params.noise.kind}, "
        f"{train['flipped'].mean():.1%} of {len(train)} training images changed."
    )


def seeds_sentence(results: Results) -> str:
    """Return how many runs are behind a figure, and what can be said from them."""
    training = f"{results.params.training.epochs} epochs, batch {results.params.training.batch_size}"
    if len(results.seeds) == 1:
        return f"One seed ({results.seeds[0]}), {training}. A single run is an observation, not a result."
    return f"Mean ± standard deviation over {len(results.seeds)} seeds, {training}."


def weights_sentence(results: Results) -> str:
    """Return which weights the methods are measured with."""
    others: dict[str, list[str]] = {}
    for name in results.methods:
        if METHODS[name].checkpoint != "last":
            others.setdefault(METHODS[name].checkpoint, []).append(METHODS[name].title)
    words = {"smoothed": "with smoothed weights", "selected": "at the best validation epoch"}
    return (
        ", ".join(["Students after the last epoch", *(f"{' and '.join(t)} {words[c]}" for c, t in others.items())])
        + "."
    )


def classes_sentence(results: Results, most: int) -> str:
    """Which classes a figure shows, where it does not show all."""
    every = len(results.classes)
    return f" Shown are the {most} most frequent of {every} classes." if every > most else ""


def views_sentence(results: Results) -> str:
    """Return how the number of stored views V compares with the number of epochs."""
    views, epochs = results.params.views.count, results.params.training.epochs
    if views < epochs:
        return (
            f"{views} augmented views of every image, fewer than the {epochs} epochs: epoch e trains on view e mod "
            f"{views}, so each view returns {epochs / views:.3g} times. {epochs} views would equal fresh augmentation "
            f"in every epoch, with the teachers answering online."
        )
    return f"{views} augmented views for {epochs} epochs: every epoch has its own view, as with online teachers."


def resampling_sentence(results: Results) -> str:
    """Return what the intervals speak about, and which numbers are corrected for how many comparisons."""
    if results.compared.empty:
        return "No intervals were computed, so no difference is shown."
    against = results.compared.loc[results.compared["method_a"] == SUBJECT]
    if against.empty:
        return "RoS-KD was not measured, so no difference to it is shown."
    row = against.iloc[0]
    scope = (
        "groups and seeds resampled: the intervals speak about new patients and new runs; comparisons.csv also holds "
        "those with seeds fixed"
        if row["resampled"] == "groups+seeds"
        else "seeds fixed: the intervals speak about new patients, not about new training runs"
    )
    return (
        f"Differences are RoS-KD minus the method; 95 % intervals from a paired bootstrap over {row['n_groups']} test "
        f"{groups_word(results.params)} ({scope}). Higher or lower: the interval excludes 0 and the p-value, corrected "
        f"after Holm for the family of {family_size(results)} comparisons, is below {SIGNIFICANCE:g}; otherwise a "
        f"difference is not shown. Intervals are not corrected."
    )


def family_size(results: Results) -> int:
    """Return with how many methods RoS-KD was compared: the family that its p-values are corrected in."""
    return int(results.compared.loc[results.compared["method_a"] == SUBJECT, "method_b"].nunique())


def rank_sentence(results: Results, metric: str) -> str:
    """Return which method has the highest figure and the rank of RoS-KD."""
    scores = {method: results.figure(method, metric).mean for method in ranked(results.methods)}
    scores = {method: score for method, score in scores.items() if np.isfinite(score)}
    if not scores:
        return f"{COLUMNS[metric]} is undefined for every method."
    best = max(scores, key=lambda method: scores[method])
    sentence = f"Highest {COLUMNS[metric]}: {METHODS[best].title}, {scores[best]:.3f}"
    if SUBJECT not in scores:
        return f"{sentence}; RoS-KD was not measured."
    if best == SUBJECT:
        return f"{sentence}."
    rank = 1 + sum(value > scores[SUBJECT] for value in scores.values())
    return f"{sentence}; RoS-KD has {scores[SUBJECT]:.3f}, place {rank} of {len(scores)}."


def verdict_sentence(results: Results, metric: str) -> str:
    """Return which methods RoS-KD is shown to be higher or lower than, and to which no difference is shown."""
    by_verdict: dict[str, list[str]] = {}
    for method in compared(results.methods):
        found = difference(results, SUBJECT, method, metric)
        if found is not None:
            by_verdict.setdefault(found.verdict, []).append(METHODS[method].title.split(" (")[0])
    figure = COLUMNS[metric]
    said = {
        "higher": f"{figure} of RoS-KD is shown to be higher than that of {{}}",
        "lower": f"{figure} of RoS-KD is shown to be lower than that of {{}}",
        "not shown": f"no difference in {figure} is shown to {{}}",
        "untested": "no test was made against {}",
    }
    parts = [text.format(listed(by_verdict[verdict])) for verdict, text in said.items() if verdict in by_verdict]
    sentence = "; ".join(parts)
    return f"{sentence[:1].upper()}{sentence[1:]}." if parts else ""


def listed(names: Sequence[str]) -> str:
    """Return `A`, `A and B`, `A, B and C`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
