"""What all sections of params.yaml are made of."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, Strict

Seed = Annotated[int, Field(ge=0, lt=2**31)]
Scalar = bool | int | float | str | None
Names = Annotated[tuple[str, ...], Strict(False)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """A frozen section of params.yaml that refuses unknown keys and silent conversions."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
