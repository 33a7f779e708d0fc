"""Stage `features`: what frozen backbones make of every view, stored once for all heads."""

from pipeline.common.files import write_json
from pipeline.common.layout import Layout
from pipeline.params.tree import Params
from pipeline.recipes.pretrained import weights_identity


def run(params: Params, layout: Layout) -> None:
    """Make the features that are missing, and write features.json: the weights that networks start from.

    That file changes when the content of a file of weights does, so that what depends on it is made again.
    """
    identities = {network.architecture: weights_identity(network) for network in params.networks}
    views: dict[str, list[str]] = {}
    if "head" in (params.teachers.train, params.student.train):
        views = _made(params, layout)
    write_json(layout.features, {"weights": identities, "features": views})


def _made(params: Params, layout: Layout) -> dict[str, list[str]]:
    """Make all features, and return the keys of their views by backbone."""
    from pipeline.recipes.features import all_views  # torch takes seconds
    from pipeline.recipes.workshop import open_workshop

    workshop = open_workshop(params, layout)
    wanted = {(network.architecture, True): network for network in params.teacher_networks("full").values()}
    wanted |= {(params.student.architecture, False): params.student_network}
    # teachers answer the students' views
    wanted |= {(network.architecture, False): network for network in params.teacher_networks("full").values()}
    found: dict[str, list[str]] = {}
    for (architecture, of_teachers), network in wanted.items():
        if network.train == "head":
            nodes = all_views(workshop, params, network, of_teachers=of_teachers)
            workshop.store.get(nodes)
            found[f"{architecture}{', views of teachers' if of_teachers else ''}"] = [node.key for node in nodes]
    return found
