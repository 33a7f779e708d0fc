"""The sections of params.yaml that say what is learnt: networks, schedule, distillation, rivals and smoothing."""

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, Strict, model_validator

from models.names import ARCHITECTURES, TIMM, HeadKind, Stem
from pipeline.params.base import Fraction, Section


def _network_name(name: str) -> str:
    if name in ARCHITECTURES or re.fullmatch(rf"{TIMM}[A-Za-z0-9_.]+", name):
        return name
    near = difflib.get_close_matches(name, ARCHITECTURES, 1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise ValueError(f"{name!r} is no network; {hint}Known are {', '.join(ARCHITECTURES)}, and {TIMM}NAME for timm's")


def _head(head: Any) -> Any:
    if head == "linear" or (isinstance(head, int) and not isinstance(head, bool) and 1 <= head <= MOST_HIDDEN):
        return head
    raise ValueError(f"{head!r} is no head; it is linear, or the number of hidden units, 1 to {MOST_HIDDEN}")


MOST_HIDDEN = 65536
Architecture = Annotated[str, AfterValidator(_network_name)]
Hidden = Annotated[int, Field(ge=1, le=MOST_HIDDEN, description="units of the head's hidden layer, at least 1")]
HeadOf = Annotated[Literal["linear"] | int, BeforeValidator(_head)]
"""A teacher's head: linear, or the hidden units of an MLP."""


@dataclass(frozen=True)
class Network:
    """One network of the experiment, and how much of it is trained.

    `layers`: the arguments of `models.networks.build` beside its name, its weights and the number of classes.
    """

    architecture: str
    weights: str | None
    train: Literal["all", "head"]
    layers: dict[str, Any]


class NetworkParams(Section):
    """What the networks of teachers have in common, and those of students."""

    stem: Stem
    width: Annotated[float, Field(ge=0.125, le=2, description="factor on the channels of every layer, 0.125 to 2")]
    weights: Annotated[
        str | None, Field(min_length=1, description="null (from scratch), imagenet, or a file or folder of weights")
    ]
    train: Annotated[Literal["all", "head"], Field(description="head: the backbone is frozen, its features are stored")]
    head: HeadKind
    hidden: Hidden
    dropout: Annotated[float | None, Field(ge=0, lt=1, description="before the last layer, in [0, 1); null: published")]

    def network(self, architecture: str, image_size: int, **changes: Any) -> Network:
        """Return one network of the section; `changes` to its layers."""
        layers = self.model_dump(include={"stem", "width", "head", "hidden", "dropout"}) | {"image_size": image_size}
        return Network(architecture, self.weights, self.train, layers | changes)

    def _require_networks(self, architectures: Iterable[str]) -> None:
        if self.weights is not None and self.width != 1:
            raise ValueError(f"weights is {self.weights} and width {self.width:g}; pretrained weights have width 1")
        if self.train == "head" and self.weights is None:
            raise ValueError(
                "train is head and weights null: a frozen backbone that was never trained; set weights to imagenet, or "
                "to a file or folder of weights, or train to all"
            )
        if self.train == "head" and self.stem == "small":
            raise ValueError("train is head and stem small, whose first layer has no pretrained weights; use imagenet")
        for name in architectures:
            if name.startswith(TIMM) and (self.stem != "imagenet" or self.width != 1):
                raise ValueError(f"{name} has its own stem and width; set stem to imagenet and width to 1")


class StudentParams(NetworkParams):
    """The student's network."""

    architecture: Architecture
    lr_factor: Annotated[float, Field(gt=0, description="factor on training.lr for students, greater than 0")]

    @model_validator(mode="after")
    def _network_is_possible(self) -> Self:
        self._require_networks([self.architecture])
        return self


class TeacherParams(NetworkParams):
    """The K teachers' networks, one per subset, what they minimise, and which of their weights answer."""

    architectures: Annotated[tuple[Architecture, ...], Strict(False), Field(min_length=1)]
    heads: Annotated[tuple[HeadOf, ...] | None, Strict(False), Field(min_length=1)]
    loss: Annotated[
        Literal["cross_entropy", "label_smoothing", "gce", "sce", "elr"],
        Field(description="what teachers minimise: cross-entropy, or the loss of the rival of the same name"),
    ]
    checkpoint: Annotated[Literal["last", "selected"], Field(description="selected: of the best validation epoch")]

    @model_validator(mode="after")
    def _networks_are_possible(self) -> Self:
        if len(set(self.architectures)) < len(self.architectures):
            raise ValueError("architectures names one network twice; teachers are identified by architecture")
        if len({name.removeprefix(TIMM) for name in self.architectures}) < len(self.architectures):
            raise ValueError("architectures names a network of torchvision and its namesake of timm; take one of them")
        if self.heads is not None and self.train == "all":
            raise ValueError("heads is a list, but train is all; one backbone has several heads where train is head")
        self._require_networks(self.architectures)
        return self

    def of_one_partition(self, image_size: int) -> dict[str, Network]:
        """Return the K teachers of one division by name: one for each architecture, or for each of its heads.

        A head's units are in the name, `tf_efficientnet_lite0-256`, and where several have as many a number,
        `tf_efficientnet_lite0-256.2`.
        """
        found: dict[str, Network] = {}
        for architecture in self.architectures:
            base = architecture.removeprefix(TIMM)
            if self.heads is None:
                found[base] = self.network(architecture, image_size)
                continue
            for place, head in enumerate(self.heads):
                name, earlier = f"{base}-{head}", self.heads[:place].count(head)
                layers = {"head": "linear"} if head == "linear" else {"head": "mlp", "hidden": head}
                found[f"{name}.{earlier + 1}" if earlier else name] = self.network(architecture, image_size, **layers)
        return found


class TrainingParams(Section):
    """The schedule that teachers and students share."""

    balance: Literal["none", "weighted", "logit_adjusted"]
    length: Annotated[Literal["epochs", "steps"], Field(description="steps: as many on a subset as on all data")]
    epochs: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=2, description="samples per optimiser step, at least 2 (BatchNorm)")]
    optimiser: Annotated[Literal["sgd", "adamw"], Field(description="sgd (momentum) or adamw")]
    lr: Annotated[float, Field(gt=0)]
    backbone_lr: Annotated[float, Field(ge=0, description="factor on lr for the backbone, at least 0; 0 freezes it")]
    momentum: Annotated[float, Field(ge=0, lt=1)]
    weight_decay: Annotated[float, Field(ge=0)]
    lr_warmup: Annotated[float, Field(ge=0, lt=1, description="share of the steps in which lr rises from 0, in [0, 1)")]
    decay: Annotated[Literal["step", "cosine"], Field(description="step (at decay_at) or cosine (to 0)")]
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
