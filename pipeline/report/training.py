"""Is every network trained, and what is memorised? Sentences and a table from metrics/training.csv."""

from pipeline.common.layout import POOLS
from pipeline.distillation.methods import METHODS, PLAIN, PUBLISHED
from pipeline.evaluation.memorisation import FALLS
from pipeline.evaluation.metrics import primary_metric
from pipeline.report.findings import COLUMNS, difference
from pipeline.report.results import Results, over_seeds, where
from pipeline.report.tables import Row

LITTLE, MUCH = 0.1, 0.5
"""By how much the plain student repeats changed labels more often than chance: little below, most of them above."""
LEARNT = 0.5
"""With a smaller share of the unchanged labels, hardly anything is learnt."""
BEHIND = 0.15
"""A teacher so far below the best of its pool is named."""
HEADS = ("Steps", "Loss", "Fall", "Unchanged", "Changed", "of these, seen", "never seen")
"""Columns of the table: length of the training, and shares of given labels that a network answers with."""


def sentences(results: Results) -> list[str]:
    """Return what the head of page and terminal says about training."""
    found = (memory_sentence(results), gap_sentence(results), untrained_sentence(results))
    return [sentence for sentence in found if sentence]


def memory_sentence(results: Results) -> str:
    """Return how much the plain student has memorised; empty where it was not trained."""
    plain = results.trained().get(("", PLAIN))
    if plain is None:
        return ""
    title, clean = METHODS[PLAIN].title, plain.get("clean", 0.0)
    if "changed" not in plain:
        train = results.samples["split"] == "train"
        if results.samples.loc[train, "flipped"].any():
            return f"Noise only took findings away: whether {title} has memorised that cannot be seen."
        return f"No wrong label is known here. {title} gives {clean:.0%} of the given training labels."
    what = "changed training labels" if results.params.task == "multiclass" else "added training findings"
    chance = plain.get("chance", 0.0)  # not there where every label was changed
    words = f"{title} repeats {plain['changed']:.0%} of the {what} ({chance:.0%} would be chance): "
    excess = plain["changed"] - chance
    if excess >= MUCH:
        return words + "most of them are memorised, which is what RoS-KD is made against."
    if excess >= LITTLE:
        return words + "some of them are memorised."
    if clean < LEARNT:
        return (
            words + f"but then it gives only {clean:.0%} of the unchanged ones, so that it has learnt hardly anything."
        )
    return words + "little is memorised, and a method against memorising has little to cure."


def gap_sentence(results: Results) -> str:
    """Return what the wrong labels cost a plain student; empty unless one was trained on published labels, too."""
    metric = primary_metric(results.params.task)
    gap = difference(results, PUBLISHED, PLAIN, metric)
    if gap is None or results.noise["corrected"]:  # published labels are without a person's corrections
        return ""
    titles = f"{METHODS[PUBLISHED].title} minus {METHODS[PLAIN].title}"
    return f"The noise gap, {titles}, is {gap.text} {COLUMNS[metric]}: what wrong labels cost a plain student."


def untrained_sentence(results: Results) -> str:
    """Return how many networks are not trained to the end, or far behind the others; empty where none is."""
    falls = {key: found["fall"] for key, found in results.trained().items() if "fall" in found}
    falling = {key: fall for key, fall in falls.items() if fall > FALLS}
    parts = []
    if falling:
        most = max(falling, key=lambda key: falling[key])
        parts.append(
            f"The training loss still falls in {len(falling)} of {len(falls)} trainings, most in {_title(*most)}, by "
            f"{falling[most]:.0%} of its way in an epoch."
        )
    if behind := _behind(results):
        key, (mean, best) = max(behind.items(), key=lambda item: item[1][1] - item[1][0])
        metric = COLUMNS[primary_metric(results.params.task)]
        parts.append(
            f"{BEHIND:.2f} or more behind the best of their pool: {len(behind)} of {_teachers(results)} teachers, most "
            f"{_title(*key)}, {metric} {mean:.2f} against {best:.2f}."
        )
    return " ".join([*parts, "What is compared must be trained: raise training.epochs or lr."]) if parts else ""


def _teachers(results: Results) -> int:
    return len(results.teachers[["pool", "architecture"]].drop_duplicates())


def _behind(results: Results) -> dict[tuple[str, str], tuple[float, float]]:
    """The figure of each teacher that is far behind, and that of the best of its pool."""
    metric = primary_metric(results.params.task)
    figures = over_seeds(where(results.teachers, "test", [metric], overall=True), ["pool", "architecture"])
    best = {pool: max((one.mean for (own, _), one in figures.items() if own == pool), default=0.0) for pool in POOLS}
    return {
        (pool, name): (figure.mean, best[pool])
        for (pool, name), figure in figures.items()
        if figure.mean <= best[pool] - BEHIND
    }


def rows(results: Results) -> list[Row]:
    """One row per network, students first: HEADS as text; blank where there is no such label, or no run of its own."""
    trained = results.trained()
    keys = sorted(trained, key=lambda key: key[0] != "")  # stable: students, then teachers, as in the table
    return [Row(_title(*key), _cells(trained[key])) for key in keys]


def _cells(found: dict[str, float]) -> list[str]:
    shares = [found.get(name) for name in ("clean", "changed", "changed_seen", "changed_unseen")]
    length = (
        [f"{found['steps']:,.0f}", f"{found['loss']:.3f}", f"{found['fall']:.1%}"] if "steps" in found else [""] * 3
    )
    return [
        *(text.replace("-", "−") for text in length),
        *("" if share is None else f"{share:.1%}" for share in shares),
    ]


def _title(pool: str, network: str) -> str:
    return f"{network} ({pool})" if pool else METHODS[network].title
