"""Stage `landscape`: the loss around the weights of one student, and its sharpness as numbers."""

from pipeline.common.layout import Layout
from pipeline.params.tree import Params
from pipeline.recipes.landscape import SHARPNESS, SLICES, SURFACE, landscape
from pipeline.recipes.store import link
from pipeline.recipes.workshop import open_workshop


def run(params: Params, layout: Layout, seed: int, method: str) -> None:
    """Compute the landscape of one method's student, or take it from the store, and link it into artifacts/.

    A method that is not among `methods` has no student; its folder stays empty.
    """
    workshop = open_workshop(params, layout)
    if method not in params.methods:
        print(f"landscape: {method} is not in `methods`, so that it has no student to look at", flush=True)
        link(workshop.store, {}, layout.landscape(seed, method))
        return
    node = landscape(workshop, params, layout, seed, method)
    workshop.store.get([node])
    link(workshop.store, {name: (node, name) for name in (SURFACE, SLICES, SHARPNESS)}, layout.landscape(seed, method))
    print(f"landscape: {method}, seed {seed}, in {layout.landscape(seed, method)}", flush=True)
