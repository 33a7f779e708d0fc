"""Do wrong labels hurt on the phantom? A plain student on published labels against one on the given ones.

The phantom is neither solved nor hopeless where the first has a macro F1 from LOW to HIGH; the difference of the two is
what a method against wrong labels can win back.
"""

from benchmarks.grids import default_grid, difference
from benchmarks.rows import Row
from pipeline.distillation.methods import PLAIN, PUBLISHED
from pipeline.params.tree import Params

SEEDS = (0, 1, 2)
LOW, HIGH = 0.85, 0.97


def measure(params: Params) -> list[Row]:
    """Return the macro F1 on clean labels, and the noise gap, both on the test split."""
    summary, comparisons = default_grid(params, [PLAIN, PUBLISHED], SEEDS)
    clean = summary.loc[(summary["method"] == PUBLISHED) & (summary["checkpoint"] == "last")]
    found = clean.loc[clean["metric"] == "f1_macro"].iloc[0]
    value, low, high = (float(found[name]) for name in ("value", "low", "high"))
    what = f"macro F1 on test, mean of {len(SEEDS)} seeds, 95 % interval over test groups"
    return [
        Row(
            "phantom_clean", value, low, high, f"{LOW:.2f} to {HIGH:.2f}", LOW <= value <= HIGH, len(SEEDS),
            f"plain student on published labels: {what}",
        ),
        Row(
            "noise_gap", *difference(comparisons, PUBLISHED, PLAIN), "report", True, len(SEEDS),
            f"published minus given labels, plain students: {what}",
        ),
    ]  # fmt: skip
