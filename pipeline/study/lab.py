"""Where students of a study are trained: each on teachers that are made once for all of them."""

from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from models.names import Architecture
from pipeline.common.files import sha256_files, sha256_json
from pipeline.data.prepared import Prepared
from pipeline.data.variants import StudyData, digest_of
from pipeline.data.views import Views
from pipeline.distillation.methods import GRID_RUNS, Method, teachers_of
from pipeline.distillation.soft_labels import SoftLabels, write_soft_labels
from pipeline.params.tree import TRAINING_MACHINE, Params
from pipeline.recipes.bench import Bench, OnEpoch, open_bench
from pipeline.recipes.store import Node, Store
from pipeline.recipes.student import train_student
from pipeline.recipes.teacher import train_teacher
from pipeline.study.outcome import Outcome, read_outcome, write_predictions

CODE = (
    "models/classifier.py", "models/inference.py", "models/networks.py", "pipeline/data/prepared.py",
    "pipeline/data/views.py", "pipeline/distillation/losses.py", "pipeline/distillation/methods.py",
    "pipeline/distillation/objective.py", "pipeline/distillation/reinforced.py", "pipeline/distillation/smoothing.py",
    "pipeline/distillation/soft_labels.py", "pipeline/distillation/weighting.py", "pipeline/evaluation/metrics.py",
    "pipeline/recipes/bench.py", "pipeline/recipes/student.py", "pipeline/recipes/teacher.py",
    "pipeline/common/labels.py", "pipeline/common/seeds.py", "pipeline/common/tables.py",
    "pipeline/training/compiling.py",
    "pipeline/training/device.py", "pipeline/training/feed.py", "pipeline/training/history.py",
    "pipeline/training/loop.py", "pipeline/training/resume.py", "pipeline/training/world.py",
)  # fmt: skip
"""Code that decides what a training gives; a change of it makes everything anew, as in dvc.yaml (a test compares)."""


class Lab:
    """Trains students, or takes them from the store where the same one was trained before."""

    def __init__(self, params: Params, store: Store | None = None) -> None:
        """Open the prepared data; raises UserError where it is missing."""
        self.data = StudyData(params)
        self._store = store or Store()
        self._opened: Bench | None = None

    def student(self, params: Params, seed: int, run: str, on_epoch: OnEpoch | None = None) -> Outcome:
        """Return the student of the method `run` (GRID_RUNS); `on_epoch` is told of its epochs, then or now."""
        told = on_epoch or (lambda epoch, metrics: None)
        live = False

        def tell_live(epoch: int, metrics: dict[str, float]) -> None:
            nonlocal live
            live = True
            told(epoch, metrics)

        self.teachers(params, seed, run)  # before the student's own lock and clock
        (folder,) = self._store.get([self._student(params, seed, run, tell_live)])
        outcome = read_outcome(folder, self.data.prepared(params))
        if not live:
            for epoch, metrics in enumerate(outcome.curve, 1):
                told(epoch, metrics)
        return outcome

    def teachers(self, params: Params, seed: int, run: str) -> list[Path]:
        """Make what the method's student learns from; returns the folder of each teacher's answers."""
        return self._store.get(self._answers(params, seed, GRID_RUNS[run]))

    def _student(self, params: Params, seed: int, run: str, on_epoch: OnEpoch) -> Node:
        method = GRID_RUNS[run]
        answers = self._answers(params, seed, method)
        members = self.data.members(params) if method.unseen_only else {}
        prepared = self.data.prepared(params)

        def make(folder: Path) -> None:
            bench = self._bench(params, seed)
            teachers = teachers_of(method, params.teachers.architectures)
            stored = None
            if answers:
                paths = [self._store.path(one) / f"{name}.npy" for one, name in zip(answers, teachers, strict=True)]
                stored = SoftLabels(paths, [_origin(node) for node in answers], bench.device)
            resume = folder / "resume.pt"
            fitted = train_student(bench, method, stored, members, resume=resume, on_epoch=on_epoch)
            assert fitted.smoothed is not None
            checkpoints = {"last": fitted.last, "selected": fitted.selected, "smoothed": fitted.smoothed}
            model = bench.network(params.student.architecture, params.student, "student")
            write_predictions(bench, model, checkpoints, folder)
            fitted.history.write(folder / "history.csv")
            resume.unlink(missing_ok=True)

        return Node(
            "students",
            _common(self.data, prepared, params, seed)
            | {
                "method": {name: value for name, value in asdict(method).items() if name != "title"},
                "distillation": _distillation(params, method),
                "teachers": [node.key for node in answers],
                "members": {name: digest_of(member) for name, member in members.items()},
                "student": params.student.model_dump(mode="json"),
                "smoothing": params.smoothing.model_dump(mode="json"),
                "test": digest_of(prepared.rows("test"), prepared.targets("test")),
            },
            make,
        )

    def _answers(self, params: Params, seed: int, method: Method) -> list[Node]:
        """The soft labels of each teacher of a method; one that sees all data is the same in both pools."""
        if method.pool is None:
            return []
        names = teachers_of(method, params.teachers.architectures)
        everything = np.ones(len(self.data.prepared(params).rows("train")), dtype=bool)
        members = self.data.members(params) if method.pool == "subset" else {}
        return [self._answer(params, seed, name, members.get(name, everything)) for name in names]

    def _answer(self, params: Params, seed: int, architecture: Architecture, member: np.ndarray) -> Node:
        prepared = self.data.prepared(params)
        rows = prepared.rows("train")
        decides = _common(self.data, prepared, params, seed) | {
            "labels": digest_of(rows[member], prepared.given[rows[member]]),
            "architecture": architecture,
            "network": params.teachers.model_dump(mode="json", exclude={"architectures"}),
        }

        def make(folder: Path) -> None:
            print(f"  teacher {architecture}, seed {seed}: training on {member.sum():,} images", flush=True)
            bench = self._bench(params, seed)
            resume = folder / "resume.pt"
            fitted = train_teacher(bench, architecture, member, resume=resume, on_epoch=lambda epoch, metrics: None)
            model = bench.network(architecture, params.teachers, f"teacher {architecture}")
            write_predictions(bench, model, {"last": fitted.last}, folder)
            model.load_state_dict(fitted.last)
            views = Views(params.views, len(prepared.images))
            path = folder / f"{architecture}.npy"
            write_soft_labels(path, _origin(node), model.to(bench.device), bench.images, rows, views, bench.device)
            fitted.history.write(folder / "history.csv")
            resume.unlink(missing_ok=True)

        node = Node("answers", decides, make)
        return node

    def _bench(self, params: Params, seed: int) -> Bench:
        """The bench of these parameters; the images of one split are put on the device once."""
        prepared = self.data.prepared(params)
        if self._opened is None or self._opened.prepared is not prepared:
            self._opened = None  # one set of images on the device at a time
            self._opened = open_bench(params, seed, prepared)
        return replace(self._opened, params=params, seed=seed)


def _common(data: StudyData, prepared: Prepared, params: Params, seed: int) -> dict[str, Any]:
    """What decides every training: code, images, labels, schedule, views and seed."""
    rows = np.concatenate([prepared.rows("train"), prepared.rows("val")])
    return {
        "code": _code(),
        "data": data.digest,
        "splits": [len(prepared.rows("train")), digest_of(rows)],
        "validation": digest_of(prepared.targets("val")),
        "labels": digest_of(prepared.targets("train")),
        "training": params.training.model_dump(mode="json", exclude=TRAINING_MACHINE),
        "views": params.views.model_dump(mode="json"),
        "seed": seed,
    }


def _distillation(params: Params, method: Method) -> dict[str, Any] | None:
    """The parameters of distillation that a method reads."""
    if method.pool is None:
        return None
    own = {"reinforced": {"policy_lr"}, "stochastic": {"weighting"}, "uniform": set()}[method.weighting]
    return params.distillation.model_dump(mode="json", include={"tau", "alpha", *own})


@cache
def _code() -> str:
    root = Path(__file__).parents[2]
    return sha256_json(CODE) + sha256_files([root / name for name in CODE])


def _origin(node: Node) -> dict[str, str]:
    return {"made from": node.key}
