"""The study section of params.yaml: what a search varies, and the ablation grids."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, Strict, model_validator

from pipeline.params.base import Names, Scalar, Section, Seed

PICKABLE = ("subsets", "teachers", "student", "training", "distillation", "rivals", "smoothing")
"""Sections from which each method of a grid may choose by validation: they leave splits and labels as they are."""


class Dimension(Section):
    """One parameter that a study varies: a range, or a list of choices."""

    low: Annotated[int | float | None, Field(description="lowest value of a range")]
    high: Annotated[int | float | None, Field(description="highest value of a range, included")]
    log: Annotated[bool, Field(description="true draws evenly over magnitudes")]
    choices: Annotated[tuple[Scalar, ...] | None, Strict(False), Field(description="the values to choose from")]

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, given: Any) -> Any:
        """A range needs no choices, choices need no range."""
        return {"low": None, "high": None, "log": False, "choices": None} | given if isinstance(given, dict) else given

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if self.choices is not None:
            if self.low is not None or self.high is not None or self.log:
                raise ValueError("choices excludes low, high and log; give either")
            if not self.choices:
                raise ValueError("choices is empty; name at least one value")
            if len(set(map(repr, self.choices))) < len(self.choices):
                raise ValueError(f"choices is {list(self.choices)}; the values must be unique")
            return self
        if self.low is None or self.high is None:
            raise ValueError("needs low and high, or choices")
        if not self.low < self.high:
            raise ValueError(f"low is {self.low} and high is {self.high}, an empty range; low must be below high")
        if self.log and self.low <= 0:
            raise ValueError(f"low is {self.low}; a logarithmic range must begin above 0")
        return self


class GridParams(Section):
    """An ablation: every combination of the values in each block of `vary`, for each of `methods` and seeds."""

    methods: Annotated[Names, Field(min_length=1, description="methods of the comparison, or stochastic_full")]
    vary: Annotated[
        tuple[dict[str, Annotated[tuple[Any, ...], Strict(False), Field(min_length=1)]], ...],
        Strict(False),
        Field(min_length=1, description="blocks of {parameter: [values]}"),
    ]
    pick: Annotated[tuple[str, ...], Strict(False), Field(description="what each method chooses by validation")] = ()

    @model_validator(mode="after")
    def _picked_is_varied(self) -> Self:
        for name in self.pick:
            if any(name not in block for block in self.vary):
                raise ValueError(f"pick names {name}, which a block of vary leaves out; list its values in each block")
            if name.split(".")[0] not in PICKABLE:
                raise ValueError(f"pick names {name}; a method chooses parameters of {', '.join(PICKABLE)}")
        return self


class StudyParams(Section):
    """What python -m pipeline.study runs: a search, and the ablation grids by name."""

    space: Annotated[dict[str, Dimension], Field(min_length=1)]
    sampler: Literal["tpe", "random", "qmc"]
    pruner: Literal["median", "hyperband", "none"]
    trials: Annotated[int, Field(ge=1, description="number of trials of a search")]
    storage: Annotated[str, Field(min_length=1, description="sqlite, or a database such as postgresql://…")]
    metric: Annotated[
        Literal["f1_macro", "auroc_macro", "loss"] | None,
        Field(description="of validation; null: f1_macro, or auroc_macro for multilabel"),
    ]
    seed: Seed
    grids: dict[Annotated[str, Field(pattern=r"^[a-z0-9_-]+$")], GridParams]

    @model_validator(mode="after")
    def _journal_is_gone(self) -> Self:
        if self.storage == "journal":
            raise ValueError("storage journal is gone; set sqlite (a file in artifacts/studies), or a database's URL")
        return self
