"""The attacks of section robustness: how far, how long and how often trained networks are attacked."""

from typing import Annotated, Self

from pydantic import Field, Strict, model_validator

from pipeline.params.base import Names, Section, Seed


class AttackParams(Section):
    """Which attacks the students have to stand. A budget is the norm of one image's whole perturbation."""

    images: Annotated[int | None, Field(ge=1, description="test images that are attacked, at least 1; null: all")]
    l2: Annotated[tuple[float, ...], Strict(False), Field(description="budgets in L2, pixels in [0, 1]")]
    linf: Annotated[tuple[float, ...], Strict(False), Field(description="budgets in L-infinity, in 255ths")]
    steps: Annotated[int, Field(ge=1, description="steps of PGD, at least 1")]
    restarts: Annotated[int, Field(ge=1, description="restarts of PGD from random points, at least 1")]
    queries: Annotated[int, Field(ge=1, description="forward passes of the Square attack per image, at least 1")]
    findings: Annotated[Names, Field(description="findings that PGD switches on and off, for several findings only")]
    seed: Seed

    @model_validator(mode="after")
    def _budgets_are_possible(self) -> Self:
        for key, largest, unit in (("l2", 1000.0, "pixels in [0, 1]"), ("linf", 255.0, "255ths")):
            budgets = getattr(self, key)
            for eps in budgets:
                if not 0 < eps <= largest:
                    raise ValueError(
                        f"{key} has a budget of {eps:g}; budgets are in {unit}, greater than 0 and at most {largest:g}"
                    )
            if list(budgets) != sorted(set(budgets)):
                raise ValueError(f"{key} is {list(budgets)}; budgets must be unique and in ascending order")
        if len(set(self.findings)) < len(self.findings):
            raise ValueError(f"findings is {list(self.findings)}; the values must be unique")
        if not self.l2 and not self.linf:
            raise ValueError("l2 and linf are both empty; name at least one budget in one of them")
        return self
