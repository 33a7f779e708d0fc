"""Stages `soft_labels_full` and `soft_labels_subset`: a pool's teachers answer every view once."""

from pipeline.common.files import sha256_file
from pipeline.common.layout import Layout, Pool
from pipeline.data.prepared import PreparedData
from pipeline.distillation.methods import teachers_needed
from pipeline.params.tree import Params
from pipeline.recipes.answers import ANSWERS, ORIGIN, answers
from pipeline.recipes.store import Node, Store, link
from pipeline.recipes.workshop import Workshop
from pipeline.training.device import pick_device
from pipeline.training.world import World, local_rank


def run(params: Params, layout: Layout, seed: int, pool: Pool) -> None:
    """Let the teachers that some method needs answer, and link their answers into artifacts/."""
    world = World(pick_device(params.machine.device, local_rank()))
    store = Store(layout.store, world)
    workshop = Workshop(PreparedData(layout, params.task), store)
    files: dict[str, tuple[Node, str]] = {}
    for architecture in teachers_needed(params.methods, pool, params.teachers.architectures):
        weights, target = layout.teacher_weights(seed, pool, architecture), layout.answers(seed, pool, architecture)
        node = answers(workshop, params, seed, architecture, weights, sha256_file(weights))
        store.get([node])
        files[target.name], files[target.with_suffix(".json").name] = (node, ANSWERS), (node, ORIGIN)
        if world.leads:
            views = params.views.count
            print(f"soft labels: {architecture} ({pool}), seed {seed}: {views} views and the clean one", flush=True)
    if world.leads:
        link(store, files, layout.soft_labels(seed, pool))
