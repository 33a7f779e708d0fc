"""The robustness section of params.yaml: which methods are tried, and with what."""

from typing import Annotated, Self

from pydantic import Field, Strict, model_validator

from models.errors import hint
from pipeline.distillation.methods import METHODS
from pipeline.evaluation.severities import SEVERITIES
from pipeline.params.attacks import AttackParams
from pipeline.params.base import Names, Section
from pipeline.params.methods import require_methods

Severity = Annotated[int, Field(ge=1, le=5)]


class CorruptionParams(Section):
    """Common corruptions of the test images."""

    kinds: Annotated[Names | None, Field(min_length=1, description="which corruptions, or null for those that suit")]
    severities: Annotated[
        tuple[Severity, ...], Strict(False), Field(min_length=1, description="any of 1 (mild) to 5 (strong)")
    ]
    images: Annotated[int | None, Field(ge=2, description="so many test images, at least 2, or null for all")]

    @model_validator(mode="after")
    def _kinds_and_severities_are_known(self) -> Self:
        for key, values in (("kinds", self.kinds or ()), ("severities", self.severities)):
            if len(set(values)) < len(values):
                raise ValueError(f"{key} is {list(values)}; the values must be unique")
        for name in self.kinds or ():
            if name not in SEVERITIES:
                meant = hint(name, SEVERITIES, f"the corruptions are {', '.join(SEVERITIES)}")
                raise ValueError(f"kinds names {name!r}, which is no corruption; {meant}")
        return self


class RobustnessParams(Section):
    """Which methods' students are tried: attacked, on corrupted images, and on those of another source."""

    methods: Annotated[Names, Field(min_length=1, description="the methods whose students are tried")]
    attacks: AttackParams
    corruptions: CorruptionParams
    external: Annotated[
        str | None, Field(min_length=1, description="table of another test set (CSV, Parquet), or null")
    ]

    @model_validator(mode="after")
    def _methods_have_networks(self) -> Self:
        require_methods(self.methods, "methods")
        for name in self.methods:
            if METHODS[name].probe is not None:
                raise ValueError(
                    f"methods names {name!r}, which answers from stored features and gives no gradients by the "
                    "pixels; leave it out"
                )
        return self
