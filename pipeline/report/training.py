"""Is every network trained, and what is memorised? Sentences and a table from metrics/training.csv."""

import numpy as np

from pipeline.common.layout import POOLS
from pipeline.distillation.methods import METHODS, PLAIN
from pipeline.evaluation.memorisation import FALLS
from pipeline.evaluation.metrics import primary_metric
from pipeline.report.findings import COLUMNS
from pipeline.report.results import Results, over_seeds, where
from pipeline.report.tables import Row

LITTLE, MUCH = 0.2, 0.5
"""Shares of the changed labels that the plain student repeats: below, little is memorised; above, most of it."""
BEHIND = 0.15
"""A teacher so far below the best of its pool is named."""
HEADS = (
    "Steps",
    "Loss at the end",
    "Fall per epoch",
    "Unchanged labels it gives",
    "Changed labels it repeats",
    "of those it trained on",
    "of those it never saw",
)


def memory_sentence(results: Results) -> str:
    """Return how much the plain student has memorised; empty where it was not trained."""
    plain = results.trained().get(("", PLAIN))
    if plain is None:
        return ""
    title = METHODS[PLAIN].title
    if "changed" not in plain:
        return f"No wrong label is known here. {title} gives {plain['clean']:.0%} of the given training labels."
    share = plain["changed"]
    words = f"{title} repeats {share:.0%} of the changed training labels: "
    if share < LITTLE:
        return words + "little is memorised, and a method against memorising has little to cure."
    if share < MUCH:
        return words + "some of them are memorised."
    return words + "most of them are memorised, which is what RoS-KD is made against."


def untrained_sentence(results: Results) -> str:
    """Return which networks are not trained to the end, or far behind the others; empty where none is."""
    falling = [
        f"{_title(pool, network)} ({found['fall']:.0%} an epoch)"
        for (pool, network), found in results.trained().items()
        if found["fall"] > FALLS
    ]
    behind = _behind(results)
    parts = [f"The training loss still falls: {', '.join(falling)}."] if falling else []
    if behind:
        parts.append(f"Far behind the best teacher of their pool: {', '.join(behind)}.")
    return " ".join([*parts, "What is compared must be trained: raise training.epochs or lr." if parts else ""]).strip()


def _behind(results: Results) -> list[str]:
    metric = primary_metric(results.params.task)
    figures = over_seeds(where(results.teachers, "test", [metric], overall=True), ["pool", "architecture"])
    named = []
    for pool in POOLS:
        means = {name: figure.mean for (own, name), figure in figures.items() if own == pool}
        best = max(means.values(), default=np.nan)
        named += [
            f"{_title(pool, name)} ({COLUMNS[metric]} {mean:.2f} against {best:.2f})"
            for name, mean in means.items()
            if mean < best - BEHIND
        ]
    return named


def rows(results: Results) -> list[Row]:
    """One row per network, students first: HEADS as text; blank where there is no such label."""
    trained = results.trained()
    keys = sorted(trained, key=lambda key: key[0] != "")  # stable: students, then teachers, as in the table
    return [Row(_title(*key), _cells(trained[key])) for key in keys]


def _cells(found: dict[str, float]) -> list[str]:
    shares = [found.get(name) for name in ("clean", "changed", "changed_seen", "changed_unseen")]
    return [
        f"{found['steps']:,.0f}",
        f"{found['loss']:.3f}",
        f"{found['fall']:.1%}".replace("-", "−"),
        *("" if share is None else f"{share:.1%}" for share in shares),
    ]


def _title(pool: str, network: str) -> str:
    return f"{network} ({pool})" if pool else METHODS[network].title
