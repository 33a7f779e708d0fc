"""The sections of params.yaml on MLflow: whether runs are tracked, and which student becomes champion."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pipeline.params.base import Section


class TrackingParams(Section):
    """MLflow tracking; off means that nothing imports mlflow."""

    enabled: bool
    experiment: Annotated[
        str | None, Field(min_length=1, max_length=200, description="experiment name, or null for roskd-<data.source>")
    ]

    @model_validator(mode="after")
    def _experiment_is_a_name(self) -> Self:
        name = self.experiment or ""
        if name.startswith(("/", "\\", "~")) or ".." in name.replace("\\", "/").split("/") or not name.isprintable():
            raise ValueError(
                f"tracking.experiment is {name!r}; it names a folder beside mlflow.db: no absolute path, no '..'"
            )
        return self


class RegistryParams(Section):
    """When the exported student becomes the registered model's champion."""

    force: Annotated[bool, Field(description="true: every new version becomes champion, whatever the comparison says")]
    metric: Annotated[
        Literal["f1_macro", "auroc_macro"] | None,
        Field(description="of validation: f1_macro, auroc_macro, or null (f1_macro, for multilabel auroc_macro)"),
    ]
