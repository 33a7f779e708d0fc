"""The typed tree of params.yaml: validated at construction, frozen afterwards."""

from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Field, Strict, model_validator

from models.names import Task
from pipeline.common.errors import SettingError
from pipeline.common.layout import Pool
from pipeline.distillation.methods import METHODS
from pipeline.params.base import Fraction, Names, Section, Seed
from pipeline.params.data import DataParams
from pipeline.params.landscape import LandscapeParams
from pipeline.params.learning import (
    DistillationParams,
    Network,
    RivalParams,
    SmoothingParams,
    StudentParams,
    TeacherParams,
    TrainingParams,
)
from pipeline.params.methods import require_methods
from pipeline.params.robustness import RobustnessParams
from pipeline.params.serving import ServingParams
from pipeline.params.study import StudyParams
from pipeline.params.tracking import RegistryParams, TrackingParams


class SplitParams(Section):
    """Shares of the three splits; a group (patient, lesion) stays in one split."""

    seed: Seed
    train: Annotated[float, Field(gt=0, lt=1)]
    val: Annotated[float, Field(gt=0, lt=1)]
    test: Annotated[float, Field(gt=0, lt=1)]
    official: Annotated[bool, Field(description="true keeps the source's own test list or split column")]
    folds: Annotated[int | None, Field(ge=2, description="number of cross-validation folds, at least 2, or null")]
    fold: Annotated[int, Field(ge=0, description="which of the folds is the test split, 0 to folds - 1")]

    @model_validator(mode="after")
    def _shares_sum_to_one(self) -> Self:
        total = self.train + self.val + self.test
        if abs(total - 1) > 1e-9:
            raise ValueError(f"train + val + test is {total:g}; the three shares must sum to 1")
        if self.folds is not None and self.official:
            raise ValueError("official is true and folds is set; a test list and cross-validation exclude each other")
        if self.folds is not None and self.fold >= self.folds:
            raise ValueError(f"fold is {self.fold}, but there are {self.folds} folds, 0 to {self.folds - 1}")
        return self


class NoiseParams(Section):
    """Label noise injected into train and validation labels; test labels stay as published."""

    kind: Literal["none", "symmetric", "pair", "matrix", "instance", "flip"]
    rate: Annotated[float, Field(ge=0, lt=1, description="share of labels changed (not for flip), in [0, 1)")]
    matrix: Annotated[str, Field(min_length=1, description="CSV of the transition matrix (kind matrix)")]
    miss_rate: Annotated[float, Field(ge=0, lt=1, description="share of findings removed (flip), in [0, 1)")]
    false_rate: Annotated[float, Field(ge=0, lt=1, description="share of absent findings added (flip)")]
    per: Annotated[Literal["image", "group"], Field(description="group: all images of a group are changed alike")]
    seed: Seed


class SubsetParams(Section):
    """The teachers' overlapping subsets (method: D = D^1 ∪ … ∪ D^K)."""

    scheme: Literal["cyclic", "core", "within"]
    overlap: Annotated[Fraction, Field(description="overlap ratio p in [0, 1]: 0 = disjoint, 1 = K copies")]
    equal_size: Annotated[bool, Field(description="true trains each teacher on a random N/K of its subset")]
    partitions: Annotated[int, Field(ge=1, description="how often the data is divided anew, at least 1")]
    seed: Seed


class ViewParams(Section):
    """The augmented views of every image."""

    count: Annotated[int, Field(ge=1, description="number V of augmented views, at least 1")]
    preset: Literal["none", "flip_crop", "lesion", "chest"]
    seed: Seed


class MachineParams(Section):
    """What computes, never what is computed: none of it decides a result."""

    device: Literal["auto", "cpu", "cuda"]
    data_on_device: Annotated[Literal["auto", True, False], Field(description="true keeps the images on the GPU")]
    compile: Annotated[bool, Field(description="true compiles the networks with torch.compile")]
    launcher: Literal["python", "torchrun"]
    processes: Annotated[int | None, Field(ge=1, description="processes per machine under torchrun, null = per GPU")]
    workers: Annotated[int, Field(ge=0, description="processes that decode images, 0 = one per processor core")]


class AuditParams(Section):
    """The page of doubtful labels."""

    shown: Annotated[int, Field(ge=1, le=5000, description="most doubtful images on the page, 1 to 5000")]
    neighbours: Annotated[int, Field(ge=0, le=8, description="similar images beside each, 0 to 8")]
    near_duplicate: Annotated[
        float, Field(gt=0, le=1, description="correlation of images that look the same, in (0, 1]")
    ]


PLACES = {"data.path", "data.corrections", "data.medmnist.download"}
"""Where things are; the data and the corrections count by their content instead."""
AFTERWARDS = (
    "machine.", "methods", "audit.", "landscape.", "robustness.", "tracking.", "registry.", "serving.", "study.",
)  # fmt: skip
"""What trains nothing: machines, and what is done with the networks once they are trained."""
TASKS_OF_SOURCE: dict[str, tuple[Task, ...]] = {
    "phantom": ("multiclass", "multilabel"),
    "isic2019": ("multiclass",),
    "chestxray14": ("multilabel",),
    "medmnist": ("multiclass", "multilabel"),
    "table": ("multiclass", "multilabel"),
}
NOISE_OF_TASK: dict[Task, tuple[str, ...]] = {
    "multiclass": ("none", "symmetric", "pair", "matrix", "instance"),
    "multilabel": ("none", "flip"),
}
RATED_NOISE = ("symmetric", "pair", "instance")
"""Kinds of noise whose `rate` is the share of wrong labels; a matrix may have another."""


class Params(Section):
    """All of params.yaml."""

    task: Task
    seeds: Annotated[tuple[Seed, ...], Strict(False), Field(min_length=1)]
    data: DataParams
    split: SplitParams
    noise: NoiseParams
    subsets: SubsetParams
    views: ViewParams
    teachers: TeacherParams
    student: StudentParams
    training: TrainingParams
    machine: MachineParams
    methods: Annotated[Names, Field(min_length=1, description="the methods that are trained and compared")]
    distillation: DistillationParams
    rivals: RivalParams
    smoothing: SmoothingParams
    audit: AuditParams
    landscape: LandscapeParams
    robustness: RobustnessParams
    tracking: TrackingParams
    serving: ServingParams
    registry: RegistryParams
    study: StudyParams

    def teacher_networks(self, pool: Pool | None) -> dict[str, Network]:
        """Return the teachers of a pool by name: those of one division of the data, on subsets of every partition.

        From the second partition on its number is in the name, `resnet18-p2`. None has no teachers.
        """
        partitions = {"subset": self.subsets.partitions, "full": 1, None: 0}[pool]
        networks = self.teachers.of_one_partition(self.data.image_size)
        return {
            name if partition == 1 else f"{name}-p{partition}": network
            for partition in range(1, partitions + 1)
            for name, network in networks.items()
        }

    def teacher_names(self, pool: Pool | None) -> tuple[str, ...]:
        """Return the names of a pool's teachers."""
        return tuple(self.teacher_networks(pool))

    @property
    def student_network(self) -> Network:
        """The student's network."""
        return self.student.network(self.student.architecture, self.data.image_size)

    @property
    def networks(self) -> tuple[Network, ...]:
        """Every network that some teacher or student is."""
        return (*self.teacher_networks("full").values(), self.student_network)

    def require_possible(self, methods: Iterable[str], origin: str) -> None:
        """Raise SettingError where these parameters leave out what one of the methods needs; `origin` names them."""
        chosen = set(methods)
        probes = sorted(name for name in chosen if name in METHODS and METHODS[name].probe)
        if "co_teaching" in chosen:
            self.forget_rate(origin)
        if probes and self.student.train != "head":
            raise SettingError(
                f"{origin} names {', '.join(probes)}, which answer from stored features, but student.train is all; set "
                "it to head, with pretrained weights, or leave them out"
            )
        if probes and not chosen - set(probes):
            raise SettingError(
                f"{origin} names {', '.join(probes)} alone, which leave no network to export. Add a student"
            )

    def forget_rate(self, origin: str = "methods") -> float:
        """Return the share of the samples that Co-teaching forgets: its parameter's, or that of the injected noise.

        Raises SettingError where neither says it; `origin` names what asks for Co-teaching.
        """
        if self.rivals.co_teaching_rate is not None:
            return self.rivals.co_teaching_rate
        if self.noise.kind not in RATED_NOISE:
            raise SettingError(
                f"{origin} names co_teaching, which forgets as large a share of the samples as is labelled wrongly; "
                f"with noise.kind {self.noise.kind} that is unknown. Set rivals.co_teaching_rate to your estimate, "
                "from 0 to below 1"
            )
        return self.noise.rate

    @model_validator(mode="after")
    def _sections_agree(self) -> Self:
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds is {list(self.seeds)}; the values must be unique")
        if self.task not in TASKS_OF_SOURCE[self.data.source]:
            allowed = " or ".join(TASKS_OF_SOURCE[self.data.source])
            raise ValueError(f"task is {self.task}, but data.source {self.data.source} is {allowed}")
        if self.noise.kind not in NOISE_OF_TASK[self.task]:
            allowed = ", ".join(NOISE_OF_TASK[self.task])
            raise ValueError(f"noise.kind is {self.noise.kind}; for task {self.task} it is one of {allowed}")
        if self.noise.per == "group" and self.noise.kind == "instance":
            raise ValueError("noise.per is group, but noise.kind instance goes by each image's look; set it to image")
        if self.training.balance == "logit_adjusted" and self.task == "multilabel":
            raise ValueError("training.balance logit_adjusted needs task multiclass; use weighted or none")
        if self.robustness.attacks.findings and self.task == "multiclass":
            raise ValueError(
                "robustness.attacks.findings names findings to switch, but task is multiclass, with one class per "
                "image; set it to []"
            )
        if self.split.official and self.data.source in ("phantom", "isic2019"):
            raise ValueError(f"split.official is true, but data.source {self.data.source} has no official test list")
        if self.split.official and self.data.source == "table" and self.data.table.split is None:
            raise ValueError("split.official is true, but data.table.split names no column of the table")
        return self

    @model_validator(mode="after")
    def _teachers_can_be_balanced(self) -> Self:
        if self.teachers.loss != "cross_entropy" and self.training.balance != "none":
            raise ValueError(
                f"training.balance is {self.training.balance}, but teachers.loss {self.teachers.loss}, which has no "
                "class weights; set balance to none or loss to cross_entropy"
            )
        return self

    @model_validator(mode="after")
    def _answers_can_be_stored(self) -> Self:
        if self.distillation.soft_labels == "online" and "head" in (self.teachers.train, self.student.train):
            raise ValueError(
                "distillation.soft_labels is online, but teachers.train or student.train is head: heads see stored "
                "features, so that nobody can be asked at every step; set it to stored"
            )
        return self

    @model_validator(mode="after")
    def _methods_are_known(self) -> Self:
        require_methods(self.methods, "methods")
        return self

    @model_validator(mode="after")
    def _processes_agree(self) -> Self:
        training, machine = self.training, self.machine
        if training.batch_norm == "sync" and machine.device == "cpu":
            raise ValueError(
                "training.batch_norm is sync, but machine.device is cpu; SyncBatchNorm runs on GPUs alone, use "
                "per_replica"
            )
        if machine.launcher == "torchrun" and machine.processes and training.batch_size % machine.processes:
            raise ValueError(
                f"training.batch_size is {training.batch_size}, which {machine.processes} processes cannot share "
                "equally; choose a multiple of machine.processes"
            )
        return self


def flatten(section: BaseModel, prefix: str = "") -> dict[str, Any]:
    """Return `{"distillation.tau": 0.5, ...}`: every leaf of a parameter tree by its dotted name."""
    flat: dict[str, Any] = {}
    for name in type(section).model_fields:
        value = getattr(section, name)
        flat |= flatten(value, f"{prefix}{name}.") if isinstance(value, BaseModel) else {f"{prefix}{name}": value}
    return flat


def of_images(params: Params) -> dict[str, Any]:
    """Return the leaves that decide what is prepared: the task, and `data` without the sections of other sources."""
    others = {"phantom", "medmnist", "table"} - {params.data.source}
    left_out = ("data.max_bad_fraction", *(f"data.{source}." for source in sorted(others)))
    return {
        name: value
        for name, value in decisive(params).items()
        if name.startswith(("task", "data.")) and not name.startswith(left_out)
    }


def decisive(params: Params) -> dict[str, Any]:
    """Return the leaves that say what is computed: without paths, machines, tracker, registry, server and studies."""
    return {
        name: value for name, value in flatten(params).items() if name not in PLACES and not name.startswith(AFTERWARDS)
    }
