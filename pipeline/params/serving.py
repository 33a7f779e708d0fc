"""The section of params.yaml for the HTTP server of the registered student."""

from typing import Annotated, Literal, Self

from pydantic import Field, Strict, model_validator

from pipeline.params.base import Section


class ServingParams(Section):
    """The HTTP server of the registered student."""

    providers: Annotated[
        tuple[Literal["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"], ...],
        Strict(False),
        Field(description="onnxruntime's providers in order of preference"),
    ]
    require_gpu: Annotated[bool, Field(description="true refuses to start where the processor would compute")]
    workers: Annotated[int, Field(ge=1, le=64, description="server processes, each with the whole model, 1 to 64")]

    @model_validator(mode="after")
    def _providers_agree(self) -> Self:
        if len(set(self.providers)) < len(self.providers) or self.providers[-1:] != ("CPUExecutionProvider",):
            raise ValueError(
                f"serving.providers is {list(self.providers)}; the values must be unique, and the last one "
                "CPUExecutionProvider, which computes what the others cannot"
            )
        if self.require_gpu and len(self.providers) == 1:
            raise ValueError(
                "serving.require_gpu is true, but serving.providers names CPUExecutionProvider alone; add "
                "CUDAExecutionProvider before it"
            )
        return self
