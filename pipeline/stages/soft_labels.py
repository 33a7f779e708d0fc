"""Stages `soft_labels_full` and `soft_labels_subset`: a pool's teachers answer every view once."""

from pipeline.common.files import sha256_file
from pipeline.common.layout import Layout, Pool
from pipeline.distillation.methods import teachers_needed
from pipeline.params.tree import Params
from pipeline.recipes.answers import ANSWERS, ORIGIN, answers
from pipeline.recipes.store import Node, link
from pipeline.recipes.workshop import open_workshop


def run(params: Params, layout: Layout, seed: int, pool: Pool) -> None:
    """Let the teachers that some method needs answer, and link their answers into artifacts/."""
    workshop = open_workshop(params, layout)
    files: dict[str, tuple[Node, str]] = {}
    for name in teachers_needed(params.methods, pool, params.teacher_names(pool)):
        weights, target = layout.teacher_weights(seed, pool, name), layout.answers(seed, pool, name)
        node = answers(workshop, params, seed, name, weights, sha256_file(weights))
        workshop.store.get([node])
        files[target.name], files[target.with_suffix(".json").name] = (node, ANSWERS), (node, ORIGIN)
        if workshop.store.leads:
            views = params.views.count
            print(f"soft labels: {name} ({pool}), seed {seed}: {views} views and the clean one", flush=True)
    link(workshop.store, files, layout.soft_labels(seed, pool))
