"""What a study will do, and what it may not change once it has begun."""

import itertools
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.common.errors import UserError
from pipeline.common.files import sha256_json
from pipeline.distillation.methods import METHODS, SUBJECT, runs_of
from pipeline.evaluation.metrics import primary_metric
from pipeline.params.file import with_values
from pipeline.params.study import Dimension, GridParams
from pipeline.params.tree import Params, decisive, flatten

VARIABLE_SECTIONS = (
    "split", "noise", "subsets", "views", "teachers", "student", "training", "distillation", "rivals",
    "smoothing",
)  # fmt: skip
"""What a study may vary; the images are prepared once, and the seeds repeat everything."""

WITHOUT_EFFECT = {"distillation.soft_labels"}
"""How soft labels are kept: a study always stores them."""

NAME = re.compile(r"[A-Za-z0-9_-]+")
"""Names of studies, which are folders and names in storages, too."""
Values = dict[str, Any]
"""Parameters by their dotted names."""


@dataclass(frozen=True)
class Unit:
    """One piece of work: the values that it sets and, in a grid, the seed it is for (a search averages over all)."""

    values: Values
    seed: int | None = None


@dataclass(frozen=True)
class Plan:
    """A study's units, and the definition that must stay as it was when the study began.

    `methods` are a grid's; a search has none. `metric` is of validation. `picked`: the parameters of which each method
    chooses its own value.
    """

    name: str
    units: tuple[Unit, ...]
    methods: tuple[str, ...]
    metric: str
    definition: dict[str, Any]
    picked: tuple[str, ...] = ()

    @property
    def is_grid(self) -> bool:
        """Whether this is an ablation grid, not a search."""
        return bool(self.methods)

    @property
    def key(self) -> str:
        """The hash of the definition."""
        return sha256_json(self.definition)

    @property
    def factors(self) -> tuple[str, ...]:
        """The parameters that tell a grid's cells apart, each once."""
        return tuple(dict.fromkeys(name for unit in self.units for name in unit.values if name not in self.picked))

    @property
    def runs(self) -> list[str]:
        """The training runs that the methods need, each once; a search trains that of SUBJECT."""
        return runs_of(self.methods or [SUBJECT])


def finished_cells(plan: Plan, complete: Collection[int]) -> list[Values]:
    """Return the values of a grid's cells whose every unit, by number, is `complete`."""
    cells = [unit.values for unit in plan.units]
    unfinished = [values for number, values in enumerate(cells) if number not in complete]
    return [values for place, values in enumerate(cells) if values not in cells[:place] and values not in unfinished]


def make_plan(name: str, params: Params, data_digest: str) -> Plan:
    """Return what `name` means: the grid of that name, or a search. Raises UserError that names every mistake."""
    if not NAME.fullmatch(name):
        raise UserError(f"study {name!r}: a name is made of letters (a to z, A to Z), digits, - and _")
    study = params.study
    metric = study.metric or primary_metric(params.task)
    grid = study.grids.get(name)
    varied = _grid_units(name, params, grid) if grid else _search_units(params)
    fixed = {
        key: value
        for key, value in decisive(params).items()
        if not any(key in unit.values for unit in varied) and (grid or key not in study.space)
    }
    own: dict[str, Any] = {"metric": metric, "data": data_digest, "params": _plain(fixed)}
    if grid:
        own |= {"methods": list(grid.methods), "vary": _plain([unit.values for unit in varied])}
        own |= {"pick": list(grid.pick)} if grid.pick else {}
    else:
        own |= {"space": {key: one.model_dump(mode="json") for key, one in study.space.items()}}
    return Plan(name, varied, grid.methods if grid else (), metric, own, grid.pick if grid else ())


def _search_units(params: Params) -> tuple[Unit, ...]:
    """The first trial is that of params.yaml itself, where the space holds it; the sampler fills the others."""
    space = params.study.space
    for name, dimension in space.items():
        _require_variable("study.space", name)
        for value in _extremes(dimension):
            with_values(params, {name: value}, f"study.space.{name}")
    known = flatten(params)
    own = {name: known[name] for name, dimension in space.items() if _holds(dimension, known[name])}
    first = Unit(own) if len(own) == len(space) else Unit({})
    return (first, *[Unit({})] * (params.study.trials - 1))


def _grid_units(name: str, params: Params, grid: GridParams) -> tuple[Unit, ...]:
    origin = f"study.grids.{name}"
    unknown = [method for method in grid.methods if method not in METHODS]
    if unknown:
        raise UserError(f"{origin}.methods names {', '.join(unknown)}; the methods are {', '.join(METHODS)}")
    cells = [
        dict(zip(block, values, strict=True)) for block in grid.vary for values in itertools.product(*block.values())
    ]
    for cell in cells:
        for key in cell:
            _require_variable(f"{origin}.vary", key)
        settled = with_values(params, cell, f"{origin}, {described(cell)}")
        settled.require_possible(grid.methods, f"{origin}.methods")
    return tuple(Unit(cell, seed) for cell in cells for seed in params.seeds)


def _require_variable(origin: str, name: str) -> None:
    if name.split(".")[0] not in VARIABLE_SECTIONS:
        allowed = ", ".join(VARIABLE_SECTIONS)
        raise UserError(f"{origin} names {name}; a study can vary parameters of {allowed}")
    if name in WITHOUT_EFFECT:
        raise UserError(f"{origin} names {name}, which has no effect on what a study measures; leave it out")


def _extremes(dimension: Dimension) -> Sequence[Any]:
    return dimension.choices if dimension.choices is not None else (dimension.low, dimension.high)


def _holds(dimension: Dimension, value: Any) -> bool:
    if dimension.choices is not None:
        return value in dimension.choices
    assert dimension.low is not None
    assert dimension.high is not None
    return isinstance(value, int | float) and dimension.low <= value <= dimension.high


def is_whole(params: Params, name: str, dimension: Dimension) -> bool:
    """Whether a range holds whole numbers alone: as the parameter's own value is, or, where it has none, the bounds."""
    own = flatten(params)[name]
    return all(isinstance(value, int) for value in ((dimension.low, dimension.high) if own is None else (own,)))


def described(values: Mapping[str, Any]) -> str:
    """Return values as people write them: `distillation.tau 2, subsets.overlap 0.4`."""
    return ", ".join(f"{name} {shown(value)}" for name, value in values.items())


def shown(value: Any) -> str:
    """Return a value as one word."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return "+".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _plain(tree: Any) -> Any:
    """The tree as JSON holds it: tuples are lists."""
    if isinstance(tree, dict):
        return {key: _plain(value) for key, value in tree.items()}
    return [_plain(value) for value in tree] if isinstance(tree, list | tuple) else tree
