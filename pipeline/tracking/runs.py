"""Which runs the tracker holds for one state of the pipeline: a parent, and a child per teacher, student and RoS-KD."""

import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pipeline.common.files import sha256_file, sha256_json
from pipeline.common.layout import POOLS, Layout, Pool
from pipeline.data.prepared import read_report
from pipeline.distillation.methods import METHODS, ordered, runs_of, teachers_needed, teachers_of
from pipeline.params.tree import AFTERWARDS, Params, decisive, flatten

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
    """One run below the parent: `name` identifies it there, `title` is shown, `history` holds its curves.

    A study's trial has no history.
    """

    kind: Literal["teacher", "student", "trial"]
    name: str
    title: str
    history: Path | None
    params: dict[str, str]
    note: str = ""

    @property
    def tags(self) -> dict[str, str]:
        """What the child is, for filters in the tracker."""
        facts = {key: self.params[key] for key in ("method", "seed", "pool", "architecture") if key in self.params}
        return {KIND: self.kind, NAME: self.name, **facts} | ({NOTE: self.note} if self.note else {})


def read_state(params: Params, layout: Layout) -> State:
    """Hash parameters and data into the present state; raises UserError where the data is not prepared yet."""
    left_out = tuple(name for name in AFTERWARDS if name != "machine.")
    flat = {name: value for name, value in flatten(params).items() if not name.startswith(left_out)}
    params_hash = sha256_json(decisive(params))
    data = read_report(layout)
    data_hash = data["sha256"]
    read_too = [params.data.corrections, *([params.noise.matrix] if params.noise.kind == "matrix" else [])]
    contents = [sha256_file(Path(path)) if Path(path).is_file() else "" for path in read_too]
    key = sha256_json([params_hash, data_hash, *contents])
    tags = {KEY: key, "roskd.params_hash": params_hash, "roskd.data_hash": data_hash, **_git(Path.cwd())}
    return State(key, _title(params), params_hash, data_hash, flat, tags, data)


def children(params: Params, layout: Layout) -> list[Child]:
    """Every child that the finished pipeline has: teachers first, then methods in the order of the tables."""
    teachers = [
        teacher(params, layout, seed, pool, name)
        for seed in params.seeds
        for pool in POOLS
        for name in teachers_needed(params.methods, pool, params.teacher_names(pool))
    ]
    names = ordered([*params.methods, *runs_of(params.methods)])
    return teachers + [student(params, layout, seed, name) for seed in params.seeds for name in names]


def teacher(params: Params, layout: Layout, seed: int, pool: Pool, name: str) -> Child:
    """The child of one teacher."""
    return Child(
        kind="teacher",
        name=f"teacher/{pool}/{name}/seed{seed}",
        title=_with_seed(params, f"teacher {pool} {name}", seed),
        history=layout.teacher_history(seed, pool, name),
        params={
            "method": "teacher",
            "seed": str(seed),
            "pool": pool,
            "architecture": params.teacher_networks(pool)[name].architecture,
            "teacher": name,
        },
    )


def student(params: Params, layout: Layout, seed: int, name: str) -> Child:
    """The child of one method; its curves are those of the training run behind it."""
    method = METHODS[name]
    return Child(
        kind="student",
        name=f"{name}/seed{seed}",
        title=_with_seed(params, name, seed),
        history=layout.student_history(seed, method.pool, method.run),
        params={
            "method": name,
            "title": method.title,
            "seed": str(seed),
            "pool": method.pool or "none",
            "architecture": params.student.architecture,
            "teachers": ", ".join(teachers_of(method, params.teacher_names(method.pool))) or "none",
            "weighting": method.weighting if method.pool else "none",
            "unseen_only": str(method.unseen_only).lower(),
            "checkpoint": method.checkpoint,
        },
        note=method.note,
    )


def _with_seed(params: Params, title: str, seed: int) -> str:
    return title if len(params.seeds) == 1 else f"{title} seed {seed}"


def _title(params: Params) -> str:
    noise = params.noise
    amounts = {"none": "", "flip": f" {noise.miss_rate:g}/{noise.false_rate:g}"}
    words = f"noise {noise.kind}{amounts.get(noise.kind, f' {noise.rate:g}')}"
    if params.split.folds is not None:
        words = f"fold {params.split.fold} of {params.split.folds}, {words}"
    distillation = params.distillation
    return f"{words}, overlap {params.subsets.overlap:g}, tau {distillation.tau:g}, alpha {distillation.alpha:g}"


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
