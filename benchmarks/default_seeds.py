"""Is RoS-KD ahead of the paper's Baselines I, II and III on the default run, in the mean of five seeds?

Trains fifty teachers and twenty students, so it runs only when it is named.
"""

from benchmarks.grids import default_grid, difference
from benchmarks.rows import Row
from pipeline.distillation.methods import METHODS, SUBJECT
from pipeline.params.tree import Params

SEEDS = range(5)
BASELINES = ("baseline_1", "baseline_2", "baseline_3")


def measure(params: Params) -> list[Row]:
    """Return, for each baseline, RoS-KD's macro F1 on the test split minus the baseline's."""
    _, comparisons = default_grid(params, [*BASELINES, SUBJECT], SEEDS)
    return [row(name, *difference(comparisons, SUBJECT, name)) for name in BASELINES]


def row(baseline: str, value: float, low: float, high: float) -> Row:
    """A mean difference with its 95 % interval over test groups and seeds; it shall be above 0."""
    what = f"RoS-KD minus {METHODS[baseline].title}, macro F1 on test, mean of {len(SEEDS)} seeds, default settings"
    return Row(f"default_seeds_{baseline}", value, low, high, "> 0", value > 0, len(SEEDS), what)
