"""The section `landscape` of params.yaml: the loss around the students' weights."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from pipeline.distillation.methods import METHODS
from pipeline.params.base import Names, Section, Seed
from pipeline.params.methods import require_methods


class HessianParams(Section):
    """How well the top eigenvalue and the trace are estimated."""

    iterations: Annotated[int, Field(ge=1, le=10_000, description="of power iteration at most, 1 to 10000")]
    tolerance: Annotated[float, Field(gt=0, lt=1, description="power iteration's relative residual, in (0, 1)")]
    draws: Annotated[int, Field(ge=2, le=10_000, description="random vectors for the trace, 2 to 10000")]


class LandscapeParams(Section):
    """Grid, images and directions of the loss surfaces, and the Hessian."""

    methods: Annotated[Names, Field(min_length=1, description="the methods whose students are looked at")]
    images: Annotated[int, Field(ge=2, le=4096, description="test images, 2 to 4096; all of a smaller test split")]
    grid: Annotated[int, Field(ge=3, le=201, description="points along each axis, odd, 3 to 201")]
    radius: Annotated[float, Field(gt=0, le=10, description="how far each axis reaches, in (0, 10]")]
    clamp: Annotated[float, Field(gt=0, description="the highest loss that is drawn, in nats, greater than 0")]
    seed: Seed
    hessian: HessianParams

    @model_validator(mode="after")
    def _has_a_centre_and_networks(self) -> Self:
        if self.grid % 2 == 0:
            raise ValueError(
                f"grid is {self.grid}, whose centre is no point; the trained weights are the centre: set it to an odd "
                f"number, {self.grid + 1}"
            )
        require_methods(self.methods, "methods")
        probes = [name for name in self.methods if METHODS[name].probe is not None]
        if probes:
            raise ValueError(
                f"methods names {', '.join(probes)}, which answers without a network, so that it has no gradient and "
                "no loss landscape; leave it out"
            )
        return self
