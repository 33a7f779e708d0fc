"""A small prepared project with the answers of teachers and the margins of a student, for the tests of the audit."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit, softmax

from models.names import Task
from pipeline.common.labels import decode
from pipeline.common.layout import Layout
from pipeline.common.tables import read_csv
from pipeline.evaluation.predictions import write_logits
from pipeline.params.tree import Params
from pipeline.stages import audit
from tests.data.made_files import write_prepared, write_split

TRAIN, VAL, TEST = 80, 30, 10
N, C, V = TRAIN + VAL + TEST, 3, 2
SPLIT = np.random.default_rng(9).permutation(np.repeat(["train", "val", "test"], [TRAIN, VAL, TEST]))
ROWS = np.concatenate([np.flatnonzero(SPLIT == "train"), np.flatnonzero(SPLIT == "val")])
"""The audited samples, in the order of the arrays below: train, then val."""
NAMES = ("resnet18", "resnet34", "densenet121")


@dataclass
class Project:
    """Prepared artefacts, and what teachers and the plain student left there: arrays in the order of ROWS."""

    layout: Layout
    task: Task
    classes: tuple[str, ...]
    ids: np.ndarray
    published: np.ndarray
    given: np.ndarray
    members: dict[str, np.ndarray]
    logits: dict[tuple[int, str], np.ndarray]
    """(V + 1, TRAIN, C) of each seed and teacher."""
    of_val: dict[tuple[int, str, str], np.ndarray]
    """(VAL, C) of each seed, teacher and checkpoint."""
    margins: dict[int, dict[str, np.ndarray]]
    plain: dict[int, np.ndarray]
    """(TRAIN, C) logits of each seed's plain student."""

    def probabilities(self, seed: int, name: str, checkpoint: str = "last") -> np.ndarray:
        """What a teacher says of the audited samples: the mean over views, (TRAIN + VAL, C)."""
        squash = expit if self.task == "multilabel" else lambda logits: softmax(logits, axis=-1)
        of_train = squash(self.logits[seed, name].astype(np.float16).astype(float)).mean(axis=0)
        return np.concatenate([of_train, squash(self.of_val[seed, name, checkpoint])])

    def mean(self, seeds: Sequence[int] = (0,), checkpoint: str = "last") -> tuple[np.ndarray, np.ndarray]:
        """The mean vote on each audited sample, and how many there are, worked out sample by sample."""
        found, counts = np.full((len(ROWS), C), np.nan), np.zeros(len(ROWS), dtype=int)
        answers = {(seed, name): self.probabilities(seed, name, checkpoint) for seed in seeds for name in self.members}
        for sample in range(len(ROWS)):
            votes = [
                probabilities[sample]
                for (_, name), probabilities in answers.items()
                if sample >= TRAIN or not self.members[name][sample]
            ]
            counts[sample] = len(votes)
            if votes:
                found[sample] = np.mean(votes, axis=0)
        return found, counts

    def places(self, table: pd.DataFrame) -> np.ndarray:
        """Where the samples of the table's rows are among ROWS."""
        place = {sample: number for number, sample in enumerate(self.ids[ROWS])}
        return np.array([place[sample] for sample in table["sample_id"]])

    def run(self, params: Params) -> tuple[pd.DataFrame, dict[str, Any]]:
        audit.run(params, self.layout)
        return read_csv(self.layout.suspects), json.loads(self.layout.audit_summary.read_text())

    def write(self) -> None:
        """Write what the stages before this one leave."""
        for (seed, name), logits in self.logits.items():
            path = self.layout.answers(seed, "subset", name)
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, logits.astype(np.float16))
            by_split = {
                checkpoint: {"val": self.of_val[seed, name, checkpoint].astype(np.float32)}
                for checkpoint in ("last", "selected")
            }
            write_logits(self.layout.teacher_predictions(seed, "subset", name), by_split)  # type: ignore[arg-type]
        for seed, arrays in self.margins.items():
            path = self.layout.student_margins(seed, None, "baseline_1")
            path.parent.mkdir(parents=True, exist_ok=True)
            np.savez(path, **arrays)
            answers = {"last": {"train": self.plain[seed].astype(np.float32)}}
            write_logits(self.layout.student_predictions(seed, None, "baseline_1"), answers)  # type: ignore[arg-type]
        table = {"sample_id": self.ids[ROWS[:TRAIN]], **{name: saw.astype(int) for name, saw in self.members.items()}}
        pd.DataFrame(table).to_csv(self.layout.subsets, index=False)


def make(
    folder: Path, task: Task = "multiclass", seeds: Sequence[int] = (0,), names: Sequence[str] = NAMES,
    classes: tuple[str, ...] = ("A", "B", "C"), seen: float = 0.5,
) -> Project:  # fmt: skip
    """A quarter of the audited labels is wrong; teachers know the published ones rather well. `seen`: by each."""
    drawn = np.random.default_rng(1)
    if task == "multiclass":
        published = drawn.integers(0, C, N)
        given = np.where(drawn.random(N) < 0.25, (published + 1) % C, published)
    else:
        published = (drawn.random((N, C)) < 0.4).astype(np.float32)
        given = np.where(drawn.random((N, C)) < 0.15, 1 - published, published)
    given[SPLIT == "test"] = published[SPLIT == "test"]
    layout = Layout(folder / "artifacts")
    cells, noisy = (decode(labels, classes) for labels in (published, given))
    images = drawn.integers(0, 256, (N, 32, 32, 3), dtype=np.uint8)
    groups = [f"g{i // 2}" for i in range(N)]
    write_prepared(layout, classes, cells, images=images, groups=groups, sha256="d" * 64)
    write_split(layout, SPLIT)
    flipped = np.array([one != other for one, other in zip(cells, noisy, strict=True)]).astype(int)
    ids = np.array([f"s{i}" for i in range(N)])
    labels = {"sample_id": ids, "given": noisy, "published": cells, "flipped": flipped}
    pd.DataFrame(labels).to_csv(layout.labels, index=False)
    truth = (np.eye(C)[published] if task == "multiclass" else 2 * published - 1)[ROWS]
    logits, of_val = {}, {}
    for seed in seeds:
        for name in names:
            logits[seed, name] = 2 * truth[:TRAIN] + drawn.normal(size=(V + 1, TRAIN, C))
            for checkpoint in ("last", "selected"):
                of_val[seed, name, checkpoint] = 2 * truth[TRAIN:] + drawn.normal(size=(VAL, C))
    shape = (TRAIN,) if task == "multiclass" else (TRAIN, C)
    right = (given == published)[ROWS[:TRAIN]]
    margins = {
        seed: {"aum": right + drawn.normal(size=shape), "disagreed": (0.8 - 0.5 * right) * drawn.random(shape)}
        for seed in seeds
    }
    members = {name: drawn.random(TRAIN) < seen for name in names}
    plain = {seed: truth[:TRAIN] + drawn.normal(size=(TRAIN, C)) for seed in seeds}
    project = Project(layout, task, classes, ids, published, given, members, logits, of_val, margins, plain)
    project.write()
    return project


def on_page(layout: Layout) -> dict[str, Any]:
    """The content of the page."""
    (content,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', layout.audit_page.read_text())
    return json.loads(content)
