"""Stages `teacher_full` and `teacher_subset`: the teachers of one seed, on all data or each on its subset.

One process trains them all: starting one takes 15 s (torch, MLflow), more than a teacher of the default run does.
"""

from pipeline import tracking
from pipeline.common.layout import Layout, Pool
from pipeline.distillation.methods import teachers_needed
from pipeline.params.tree import Params
from pipeline.recipes.listeners import train_tracked
from pipeline.recipes.store import Node, link
from pipeline.recipes.teacher import HISTORY, PREDICTIONS, WEIGHTS, teacher
from pipeline.recipes.workshop import open_workshop


def run(params: Params, layout: Layout, seed: int, pool: Pool) -> None:
    """Train the teachers that some method needs, and link weights, histories and predictions into artifacts/."""
    workshop = open_workshop(params, layout)
    files: dict[str, tuple[Node, str]] = {}
    for name in teachers_needed(params.methods, pool, params.teacher_names(pool)):
        node = teacher(workshop, params, seed, pool, name)
        child = tracking.teacher(params, layout, seed, pool, name)
        train_tracked(workshop.store, node, params, layout, child, HISTORY)
        files[layout.teacher_weights(seed, pool, name).name] = (node, WEIGHTS[params.teachers.checkpoint])
        files[layout.teacher_history(seed, pool, name).name] = (node, HISTORY)
        files[layout.teacher_predictions(seed, pool, name).name] = (node, PREDICTIONS)
    link(workshop.store, files, layout.teachers(seed, pool))
