"""Stages `student_plain`, `student_full` and `student_subset`: the students of one seed, by the teachers they need."""

from typing import Literal

from pipeline import tracking
from pipeline.common.files import sha256_file
from pipeline.common.layout import Layout, Pool
from pipeline.distillation.methods import METHODS, Method, runs_of, teachers_of
from pipeline.distillation.soft_labels import require_origin
from pipeline.params.tree import Params
from pipeline.recipes.answers import origin_for
from pipeline.recipes.listeners import train_tracked
from pipeline.recipes.store import Node, link
from pipeline.recipes.student import HISTORY, Source, student
from pipeline.recipes.workshop import Workshop, open_workshop


def run(params: Params, layout: Layout, seed: int, group: Literal["plain", "full", "subset"]) -> None:
    """Train the students whose teachers are of `group`, plain, full or subset, and link them into artifacts/."""
    workshop = open_workshop(params, layout)
    files: dict[str, tuple[Node, str]] = {}
    pool: Pool | None = None if group == "plain" else group
    for name in [name for name in runs_of(params.methods) if METHODS[name].pool == pool]:
        node = student(workshop, params, seed, name, _sources(workshop, params, layout, seed, METHODS[name]))
        child = tracking.student(params, layout, seed, name)
        train_tracked(workshop.store, node, params, layout, child, HISTORY)
        files |= {f"{name}/{file}": (node, file) for file in node.files}
    link(workshop.store, files, layout.students(seed, pool))


def _sources(workshop: Workshop, params: Params, layout: Layout, seed: int, method: Method) -> list[Source]:
    """The teachers of a method as artifacts/ has them: their answers, or their weights where they are asked online."""
    pool, found = method.pool, []
    if pool is None:
        return []
    for name in teachers_of(method, params.teacher_names(pool)):
        path = layout.teacher_weights(seed, pool, name)
        digest = sha256_file(path)
        if params.distillation.soft_labels == "stored":
            path = layout.answers(seed, pool, name)
            digest = require_origin(path, path.with_suffix(".json"), origin_for(workshop, params, digest))
        found.append(Source(name, path, digest))
    return found
