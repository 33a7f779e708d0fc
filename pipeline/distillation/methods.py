"""The methods that are compared: which teachers each student learns from, and how they are weighted (section 4)."""

from dataclasses import dataclass
from typing import Literal

from models.names import Architecture
from pipeline.common.layout import Checkpoint, Pool

Weighting = Literal["uniform", "stochastic", "reinforced"]


@dataclass(frozen=True)
class Method:
    """One student run: its title, its teachers and their weighting.

    `pool` None means no teachers at all; `single` keeps one teacher of the pool (Hinton et al. 2015); `unseen_only`
    silences, sample by sample, the teachers that trained on it.
    """

    title: str
    pool: Pool | None
    weighting: Weighting = "uniform"
    single: bool = False
    unseen_only: bool = False


RUNS: dict[str, Method] = {
    "baseline_1": Method("Baseline I (no teacher)", None),
    "baseline_2": Method("Baseline II (one teacher, all data)", "full", single=True),
    "baseline_3": Method("Baseline III (equal weights, all data)", "full"),
    "baseline_3_same": Method("Baseline III, RoS-KD's teachers", "subset"),
    "baseline_4": Method("Baseline IV (reinforced)", "subset", "reinforced"),
    "baseline_5": Method("Baseline V (stochastic)", "subset", "stochastic"),
    "roskd_unseen": Method("Baseline V, unseen teachers only", "subset", "stochastic", unseen_only=True),
}

GRID_RUNS: dict[str, Method] = RUNS | {
    "stochastic_full": Method("Stochastic weights, all data", "full", "stochastic"),
}
"""What an ablation grid may compare besides: each ingredient of RoS-KD without the others."""

ROSKD = "roskd"
ROSKD_RUN = "baseline_5"
"""RoS-KD is the smoothed student of this run: averaging never feeds back into SGD (Eq. 2)."""

STAGES: dict[str, tuple[str, ...]] = {
    "student_plain": tuple(name for name, method in RUNS.items() if method.pool is None),
    "student_full": tuple(name for name, method in RUNS.items() if method.pool == "full"),
    "student_subset": tuple(name for name, method in RUNS.items() if method.pool == "subset"),
}

TITLES: dict[str, str] = {name: method.title for name, method in RUNS.items()} | {ROSKD: "RoS-KD (V, smoothed)"}
"""Titles for people, in the order of the table; RoS-KD stands last."""


def title_of(method: str) -> str:
    """Return a method's title for people, also that of one which grids alone have."""
    return TITLES.get(method) or GRID_RUNS[method].title


def reported_checkpoint(method: str) -> Checkpoint:
    """Return the checkpoint that a method stands for: the last epoch, for RoS-KD the smoothed weights."""
    return "smoothed" if method == ROSKD else "last"


@dataclass(frozen=True)
class Ingredient:
    """One ingredient of RoS-KD: `method` has it, `without` is the same in all else."""

    title: str
    method: str
    without: str


INGREDIENTS = (
    Ingredient("Overlapping subsets instead of all data for every teacher", "baseline_3_same", "baseline_3"),
    Ingredient("Stochastic instead of equal teacher weights", ROSKD_RUN, "baseline_3_same"),
    Ingredient("Smoothing of the student's weights", ROSKD, ROSKD_RUN),
)

SHARES = tuple((one.method, one.without) for one in INGREDIENTS if one.method != ROSKD)
"""Pairs that differ in one ingredient alone and are not among RoS-KD against the others: a family of their own."""


def teachers_of(method: Method, architectures: tuple[Architecture, ...]) -> tuple[Architecture, ...]:
    """Return the architectures a method learns from, out of the K trained ones.

    Baseline II's single teacher is DenseNet-121 (Table I) where it was trained, otherwise the last of the list.
    """
    if method.pool is None:
        return ()
    if method.single:
        return ("densenet121",) if "densenet121" in architectures else architectures[-1:]
    return architectures
