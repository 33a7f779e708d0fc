"""The methods that are compared: whose teachers each student learns from, and with what weights (method, section 4).

A method is a row of METHODS. Two methods may be two results of one training: RoS-KD is the smoothed student of Baseline
V's run, since averaging never feeds back into SGD (Eq. 2).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from pipeline.common.layout import CHECKPOINTS, Checkpoint, Pool

Weighting = Literal["uniform", "stochastic", "reinforced"]
Rival = Literal["label_smoothing", "gce", "sce", "elr", "co_teaching"]
"""What other authors do against wrong labels, without teachers."""
Probe = Literal["linear_probe", "knn"]
"""Rivals that train no network: they answer from the stored features of a frozen backbone."""


@dataclass(frozen=True)
class Method:
    """One method: its title, the training run behind it, its teachers and their weighting, and its checkpoint.

    `run` names the training, which is the method's own unless it is another result of another method's. `pool` None
    means no teachers at all; `single` keeps one teacher of the pool (Hinton et al. 2015); `unseen_only` silences, for
    each sample, the teachers that trained on it. `paper`: whether the paper's Table I has it; `rival`: what replaces
    the supervised loss; `probe`: what stands in place of a network; `published`: it learns from the labels as
    published, which noise has not touched.
    """

    title: str
    run: str
    pool: Pool | None
    weighting: Weighting = "uniform"
    single: bool = False
    unseen_only: bool = False
    checkpoint: Checkpoint = "last"
    paper: bool = True
    rival: Rival | None = None
    probe: Probe | None = None
    published: bool = False
    note: str = ""


METHODS: dict[str, Method] = {
    "baseline_1": Method("Baseline I (no teacher)", "baseline_1", None),
    "baseline_2": Method("Baseline II (one teacher, all data)", "baseline_2", "full", single=True),
    "baseline_3": Method("Baseline III (equal weights, all data)", "baseline_3", "full"),
    "stochastic_full": Method("Stochastic weights, all data", "stochastic_full", "full", "stochastic", paper=False),
    "baseline_3_same": Method("Baseline III, RoS-KD's teachers", "baseline_3_same", "subset", paper=False),
    "baseline_4": Method("Baseline IV (reinforced)", "baseline_4", "subset", "reinforced"),
    "baseline_5": Method("Baseline V (stochastic)", "baseline_5", "subset", "stochastic"),
    "roskd_unseen": Method(
        "Baseline V, unseen teachers only", "roskd_unseen", "subset", "stochastic", unseen_only=True, paper=False
    ),
    "roskd": Method(
        "RoS-KD (V, smoothed)",
        "baseline_5",
        "subset",
        "stochastic",
        checkpoint="smoothed",
        note="RoS-KD is the smoothed student (Eq. 1) of the run baseline_5: one training, two results. The val/ curves "
        "are that run's; their last point, one step after the last epoch, is the smoothed student's own value.",
    ),
    "roskd_cross": Method(
        "Cross-fitted: equal weights, unseen teachers, smoothed",
        "roskd_cross",
        "subset",
        unseen_only=True,
        checkpoint="smoothed",
        paper=False,
    ),
    "baseline_1_published": Method(
        "Baseline I on published labels", "baseline_1_published", None, paper=False, published=True
    ),
    "early_stopped": Method(
        "Early stopping (Baseline I)",
        "baseline_1",
        None,
        checkpoint="selected",
        paper=False,
        note="Early stopping is the best validation epoch of the run baseline_1: one training, two results. The val/ "
        "curves are that run's; their last point, one step after the last epoch, is the best epoch's own value.",
    ),
    "label_smoothing": Method("Label smoothing", "label_smoothing", None, paper=False, rival="label_smoothing"),
    "gce": Method("Generalised cross-entropy", "gce", None, paper=False, rival="gce"),
    "sce": Method("Symmetric cross-entropy", "sce", None, paper=False, rival="sce"),
    "elr": Method("Early-learning regularisation", "elr", None, paper=False, rival="elr"),
    "co_teaching": Method("Co-teaching", "co_teaching", None, paper=False, rival="co_teaching"),
    "linear_probe": Method("Linear probe on features", "linear_probe", None, paper=False, probe="linear_probe"),
    "knn": Method("Nearest neighbours of features", "knn", None, paper=False, probe="knn"),
}
"""Every method by name, in the order of the tables: the paper's with variations of them, then the rivals."""
RIVALS = tuple(METHODS)[tuple(METHODS).index("early_stopped") :]
"""The methods of other authors, which the paper does not compare with."""

SUBJECT = "roskd"
"""The method that all others are compared with."""
CROSS_FITTED = "roskd_cross"
"""The variation that is compared with the rivals, too."""
PLAIN = "baseline_1"
"""The student that learns from the given labels alone."""
PUBLISHED = "baseline_1_published"
"""The same on published labels: what it is better by is the noise gap."""


@dataclass(frozen=True)
class Ingredient:
    """One ingredient of RoS-KD: `method` has it, `without` is the same in all else."""

    title: str
    method: str
    without: str


INGREDIENTS = (
    Ingredient("Overlapping subsets instead of all data for every teacher", "baseline_3_same", "baseline_3"),
    Ingredient("Stochastic instead of equal teacher weights", "baseline_5", "baseline_3_same"),
    Ingredient("Stochastic instead of equal teacher weights, all data", "stochastic_full", "baseline_3"),
    Ingredient("Smoothing of the student's weights", SUBJECT, "baseline_5"),
)


def ordered(names: Iterable[str]) -> list[str]:
    """Return method names in the order of the tables."""
    chosen = set(names)
    return [name for name in METHODS if name in chosen]


def runs_of(names: Iterable[str]) -> list[str]:
    """Return the training runs behind some methods, each once, in the order of the tables."""
    return ordered(METHODS[name].run for name in names)


def checkpoints_of(name: str) -> tuple[Checkpoint, ...]:
    """Return the checkpoints that a method is measured at: its own alone where the run is another method's."""
    method = METHODS[name]
    return CHECKPOINTS if method.run == name else (method.checkpoint,)


def families(names: Iterable[str]) -> list[list[tuple[str, str]]]:
    """Return the pairs that are compared, first minus second, in four families: p-values are corrected within each.

    SUBJECT against every other method; ingredients' own shares that are not among these; CROSS_FITTED against the plain
    student and every rival; and the noise gap, PUBLISHED against PLAIN.
    """
    there = ordered(names)
    against = [(SUBJECT, name) for name in compared(there)] if SUBJECT in there else []
    shares = [(one.method, one.without) for one in INGREDIENTS if one.method != SUBJECT]
    beyond = [(CROSS_FITTED, name) for name in there if name in (PLAIN, *RIVALS)] if CROSS_FITTED in there else []
    gap = [(PUBLISHED, PLAIN)] if {PUBLISHED, PLAIN} <= set(there) else []
    return [against, [pair for pair in shares if set(pair) <= set(there)], beyond, gap]


def compared(names: Iterable[str]) -> list[str]:
    """Return the methods that SUBJECT is compared with, in the order given: all but itself and PUBLISHED."""
    return [name for name in names if name not in (SUBJECT, PUBLISHED)]


def ranked(names: Sequence[str]) -> list[str]:
    """Return the methods that have a rank: all but PUBLISHED, unless it is alone."""
    return [name for name in names if name != PUBLISHED] or list(names)


def served(names: Sequence[str]) -> str:
    """Return the method whose student is exported and registered: SUBJECT, or the last one where that is left out.

    Probes have no network to export; PUBLISHED is a yardstick, and is exported where it is alone.
    """
    networks = [name for name in names if METHODS[name].probe is None]
    return SUBJECT if SUBJECT in names else ranked(networks)[-1]


def teachers_of(method: Method, teachers: tuple[str, ...]) -> tuple[str, ...]:
    """Return the teachers that a method learns from, out of those of its pool.

    Baseline II's single teacher is DenseNet-121 (Table I) where it is among them, otherwise the last of the list.
    """
    if method.pool is None:
        return ()
    if method.single:
        return ("densenet121",) if "densenet121" in teachers else teachers[-1:]
    return teachers


def teachers_needed(names: Iterable[str], pool: Pool, teachers: tuple[str, ...]) -> tuple[str, ...]:
    """Return those `teachers` of a pool that any of the methods learns from."""
    used = {one for name in names if METHODS[name].pool == pool for one in teachers_of(METHODS[name], teachers)}
    return tuple(one for one in teachers if one in used)
