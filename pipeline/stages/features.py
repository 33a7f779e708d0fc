"""Stage `features`: what frozen backbones make of every view, stored once for all heads."""

from pipeline.common.files import write_json
from pipeline.common.layout import Layout
from pipeline.distillation.methods import METHODS
from pipeline.params.learning import Network
from pipeline.params.tree import Params
from pipeline.recipes.pretrained import weights_identity


def run(params: Params, layout: Layout) -> None:
    """Make the features that are missing, and write features.json: the weights that networks start from.

    That file changes when the content of a file of weights does, so that what depends on it is made again.
    """
    teachers = params.teacher_networks("full").values()
    taught = any(METHODS[name].pool for name in params.methods)
    seen = [(network, of_teachers) for network in teachers if taught for of_teachers in (True, False)]
    _make(params, layout, [*seen, (params.student_network, False)])
    start = {network.architecture: weights_identity(network) for network in teachers}
    write_json(layout.features, {"teachers": start, "student": weights_identity(params.student_network)})


def _make(params: Params, layout: Layout, seen: list[tuple[Network, bool]]) -> None:
    """Make the features of backbones, each in the students' views or the teachers'; teachers answer the students'."""
    heads = [(network, of_teachers) for network, of_teachers in seen if network.train == "head"]
    if not heads:
        return
    from pipeline.recipes.features import all_views  # torch takes seconds
    from pipeline.recipes.workshop import open_workshop

    workshop = open_workshop(params, layout)
    nodes = [node for network, teachers in heads for node in all_views(workshop, params, network, of_teachers=teachers)]
    workshop.store.get(list({node.key: node for node in nodes}.values()))
