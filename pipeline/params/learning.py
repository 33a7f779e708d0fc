"""The sections of params.yaml that say what is learnt: networks, schedule, distillation, rivals and smoothing."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, Strict, model_validator

from models.names import Architecture, Stem
from pipeline.params.base import Fraction, Section


class NetworkParams(Section):
    """What the networks of teachers have in common, and those of students."""

    stem: Stem
    width: Annotated[float, Field(ge=0.125, le=2, description="factor on the channels of every layer, 0.125 to 2")]
    weights: Annotated[Literal["imagenet"] | None, Field(description="imagenet, or null to train from scratch")]

    @property
    def layers(self) -> dict[str, Any]:
        """What decides a network's layers beside its architecture: the arguments of `models.networks.build`."""
        return {"stem": self.stem, "width": self.width}

    @model_validator(mode="after")
    def _pretrained_at_full_width(self) -> Self:
        if self.weights is not None and self.width != 1:
            raise ValueError(f"weights is {self.weights} and width {self.width:g}; pretrained weights have width 1")
        return self


class StudentParams(NetworkParams):
    """The student's network."""

    architecture: Architecture
    lr_factor: Annotated[float, Field(gt=0, description="factor on training.lr for students, greater than 0")]


class TeacherParams(NetworkParams):
    """The K teachers' networks, one per subset, and which of their weights answer."""

    architectures: Annotated[tuple[Architecture, ...], Strict(False), Field(min_length=1)]
    checkpoint: Annotated[Literal["last", "selected"], Field(description="selected: of the best validation epoch")]

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if len(set(self.architectures)) < len(self.architectures):
            raise ValueError("architectures names one network twice; teachers are identified by architecture")
        return self


class TrainingParams(Section):
    """The schedule that teachers and students share."""

    balance: Literal["none", "weighted", "logit_adjusted"]
    length: Annotated[Literal["epochs", "steps"], Field(description="steps: as many on a subset as on all data")]
    epochs: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=2, description="samples per optimiser step, at least 2 (BatchNorm)")]
    lr: Annotated[float, Field(gt=0)]
    momentum: Annotated[float, Field(ge=0, lt=1)]
    weight_decay: Annotated[float, Field(ge=0)]
    decay_at: Annotated[tuple[Annotated[float, Field(gt=0, lt=1)], ...], Strict(False)]
    precision: Literal["auto", "float32"]
    batch_norm: Literal["per_replica", "sync"]

    @model_validator(mode="after")
    def _decays_in_order(self) -> Self:
        if list(self.decay_at) != sorted(set(self.decay_at)):
            raise ValueError(f"decay_at is {list(self.decay_at)}; the fractions must increase")
        return self


class WeightingParams(Section):
    """How the stochastic teacher weights are drawn: e_k ~ Gamma(concentration, 1), w = e / Σe."""

    per: Literal["step", "sample"]
    concentration: Annotated[float, Field(gt=0)]
    normalise: bool
    weight_scale: Annotated[float, Field(gt=0)]


class DistillationParams(Section):
    """Temperature, weight and teacher weighting of the distillation loss."""

    soft_labels: Annotated[Literal["stored", "online"], Field(description="stored, or online: asked at every step")]
    tau: Annotated[float, Field(gt=0, description="temperature, greater than 0")]
    alpha: Annotated[Fraction, Field(description="weight of the distillation term, 0 to 1")]
    policy_lr: Annotated[float, Field(gt=0, description="step size of Baseline IV's policy gradient")]
    weighting: WeightingParams


class RivalParams(Section):
    """The rivals' own parameters; defaults are those of their papers."""

    label_smoothing: Annotated[float, Field(gt=0, lt=1, description="share of a label spread over all classes")]
    gce_q: Annotated[float, Field(gt=0, le=1, description="exponent, in (0, 1]; 1 is the mean absolute error")]
    sce_alpha: Annotated[float, Field(ge=0, description="weight of cross-entropy, at least 0")]
    sce_beta: Annotated[float, Field(ge=0, description="weight of the reverse cross-entropy, at least 0")]
    elr_beta: Annotated[float, Field(ge=0, lt=1, description="momentum of the memory, in [0, 1)")]
    elr_lambda: Annotated[float, Field(ge=0, description="weight of the pull towards the memory, at least 0")]
    co_teaching_rate: Annotated[
        float | None, Field(ge=0, lt=1, description="share of the samples to forget, in [0, 1), or null for noise.rate")
    ]
    co_teaching_ramp: Annotated[Fraction, Field(description="share of the epochs until it is reached, 0 to 1")]


class SmoothingParams(Section):
    """Smooth parameter averaging of the student (Eq. 1)."""

    warmup: Annotated[float, Field(ge=0, lt=1, description="share of the epochs before averaging begins, in [0, 1)")]
