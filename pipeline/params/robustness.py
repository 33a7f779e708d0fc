"""The robustness section of params.yaml: which methods are tried, and with what."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from pipeline.distillation.methods import METHODS
from pipeline.params.attacks import AttackParams
from pipeline.params.base import Names, Section
from pipeline.params.methods import require_methods


class RobustnessParams(Section):
    """Which methods' students are tried, and the attacks on them."""

    methods: Annotated[Names, Field(min_length=1, description="the methods whose students are tried")]
    attacks: AttackParams

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
