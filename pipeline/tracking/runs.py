"""Which runs the tracker holds for one state of the pipeline: a parent, and a child per teacher, student and RoS-KD."""

import json
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pipeline.common import layout as artifacts
from pipeline.common.errors import UserError
from pipeline.common.files import sha256_file, sha256_json
from pipeline.common.layout import Pool
from pipeline.distillation.methods import ROSKD, ROSKD_RUN, RUNS, TITLES, teachers_of
from pipeline.params.tree import Params, decisive, flatten

POOLS: tuple[Pool, ...] = ("full", "subset")
DATA_FIELDS = ("sha256", "task", "classes", "counts", "images", "groups", "image_size", "channels", "quarantined")
"""What the tracker needs of data/report.json."""

KEY = "roskd.key"
KIND = "roskd.kind"
NAME = "roskd.name"
CONTENT = "roskd.content"
EVALUATION = "roskd.evaluation"
REUSED = "reused"
NOTE = "mlflow.note.content"


@dataclass(frozen=True)
class State:
    """One state of the pipeline, that is one parent run.

    `key` hashes parameters, data, corrections and the noise matrix in use; `params` is what its runs log; `tags` what
    they all carry; `data` is data/report.json.
    """

    key: str
    title: str
    params_hash: str
    data_hash: str
    params: dict[str, Any]
    tags: dict[str, str]
    data: dict[str, Any]


@dataclass(frozen=True)
class Child:
    """One run below the parent: `name` identifies it there, `title` is shown, `history` is relative to the root.

    A study's trial has no file of its own there, but the folder of its study.
    """

    kind: Literal["teacher", "student", "trial"]
    name: str
    title: str
    history: Path
    params: dict[str, str]
    note: str = ""

    @property
    def tags(self) -> dict[str, str]:
        """What the child is, for filters in the tracker."""
        facts = {key: self.params[key] for key in ("method", "seed", "pool", "architecture") if key in self.params}
        return {KIND: self.kind, NAME: self.name, **facts} | ({NOTE: self.note} if self.note else {})


def read_state(params: Params, root: Path) -> State:
    """Hash parameters and data into the state below `root`; raises UserError where the data is not prepared yet."""
    flat = {name: value for name, value in flatten(params).items() if not name.startswith(("tracking.", "study."))}
    params_hash = sha256_json(decisive(params))
    data = _data_report(root / artifacts.DATA_REPORT)
    data_hash = data["sha256"]
    read_too = [params.data.corrections, *([params.noise.matrix] if params.noise.kind == "matrix" else [])]
    contents = [sha256_file(root / path) if (root / path).is_file() else "" for path in read_too]
    key = sha256_json([params_hash, data_hash, *contents])
    tags = {KEY: key, "roskd.params_hash": params_hash, "roskd.data_hash": data_hash, **_git(root)}
    return State(key, _title(params), params_hash, data_hash, flat, tags, data)


def children(params: Params) -> list[Child]:
    """Every child that the finished pipeline has, teachers first, RoS-KD last within its seed."""
    teachers = [
        teacher(params, seed, pool, name)
        for seed in params.seeds
        for pool in POOLS
        for name in params.teachers.architectures
    ]
    return teachers + [student(params, seed, method) for seed in params.seeds for method in (*RUNS, ROSKD)]


def teacher(params: Params, seed: int, pool: Pool, architecture: str) -> Child:
    """The child of one teacher."""
    return Child(
        kind="teacher",
        name=f"teacher/{pool}/{architecture}/seed{seed}",
        title=_with_seed(params, f"teacher {pool} {architecture}", seed),
        history=artifacts.teacher_history(seed, pool, architecture),
        params={"method": "teacher", "seed": str(seed), "pool": pool, "architecture": architecture},
    )


def student(params: Params, seed: int, method: str) -> Child:
    """The child of one student run, or of RoS-KD (`method` "roskd"), whose curves are those of its run."""
    run = ROSKD_RUN if method == ROSKD else method
    definition = RUNS[run]
    note = (
        f"RoS-KD is the smoothed student (Eq. 1) of the run {ROSKD_RUN}: one training, two results. The val/ curves "
        "are that run's; their last point, one step after the last epoch, is the smoothed student's own value."
    )
    return Child(
        kind="student",
        name=f"{method}/seed{seed}",
        title=_with_seed(params, method, seed),
        history=artifacts.student_history(seed, run),
        params={
            "method": method,
            "title": TITLES[method],
            "seed": str(seed),
            "pool": definition.pool or "none",
            "architecture": params.student.architecture,
            "teachers": ", ".join(teachers_of(definition, params.teachers.architectures)) or "none",
            "weighting": definition.weighting if definition.pool else "none",
            "unseen_only": str(definition.unseen_only).lower(),
            "checkpoint": "smoothed" if method == ROSKD else "last",
        },
        note=note if method == ROSKD else "",
    )


def _with_seed(params: Params, title: str, seed: int) -> str:
    return title if len(params.seeds) == 1 else f"{title} seed {seed}"


def _title(params: Params) -> str:
    noise = params.noise
    amounts = {"none": "", "flip": f" {noise.miss_rate:g}/{noise.false_rate:g}"}
    told = f"noise {noise.kind}{amounts.get(noise.kind, f' {noise.rate:g}')}"
    if params.split.folds is not None:
        told = f"fold {params.split.fold} of {params.split.folds}, {told}"
    distillation = params.distillation
    return f"{told}, overlap {params.subsets.overlap:g}, tau {distillation.tau:g}, alpha {distillation.alpha:g}"


def _data_report(path: Path) -> dict[str, Any]:
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        missing = [name for name in DATA_FIELDS if name not in report]
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; prepare the data first (make repro)") from None
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{path}: cannot be read as JSON ({error}); run make repro again") from error
    if missing:
        raise UserError(f"{path}: has no field {', '.join(missing)}; run make repro again")
    return report


@cache
def _git(root: Path) -> dict[str, str]:
    """The commit and whether tracked files differ from it; nothing outside a git repository or without git."""
    commit = _git_output(root, "rev-parse", "HEAD")
    if commit is None:
        return {}
    changes = _git_output(root, "status", "--porcelain", "--untracked-files=no")
    return {"mlflow.source.git.commit": commit, "roskd.git_dirty": str(bool(changes)).lower()}


def _git_output(root: Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(root), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
