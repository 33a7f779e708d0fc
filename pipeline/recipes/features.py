"""The recipe of features: what a frozen backbone makes of every image in one view."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.common.files import atomic
from pipeline.data.views import PRESETS, Preset, Views
from pipeline.params.learning import Network
from pipeline.params.tree import Params
from pipeline.recipes.code import fingerprint
from pipeline.recipes.pretrained import weights_identity
from pipeline.recipes.store import Node, OnEpoch
from pipeline.recipes.workshop import Workshop
from pipeline.training.backbone import backbone_features

FEATURES = "features.npy"


def features(workshop: Workshop, params: Params, network: Network, view: int, *, of_teachers: bool = False) -> Node:
    """Return the node of one view's features, (N, F) of all N images: float16, of clean images float32.

    `view`: number `params.views.count` is the clean image, on which is measured what a served network answers. They do
    not depend on labels, splits and seeds of trainings.
    """
    architecture = network.architecture
    decides = {
        "code": fingerprint("pipeline.training.backbone"),
        "architecture": architecture,
        "weights": weights_identity(network),
        "data": workshop.data.digest,
        "view": _definition(params, view, of_teachers),
    }
    shown = "clean images" if decides["view"] is None else f"view {view}{' of the teachers' if of_teachers else ''}"

    def make(folder: Path, on_epoch: OnEpoch) -> None:
        bench = workshop.bench(params, params.seeds[0])
        images = bench.prepared.images
        found = backbone_features(
            network, images, Views(params.views, len(images), of_teachers=of_teachers), view,
            device=bench.device, on_device=params.machine.data_on_device, share=bench.world.answer,
        )  # fmt: skip
        if bench.world.leads:
            with atomic(folder / FEATURES) as temporary:
                np.save(temporary, found if decides["view"] is None else found.astype(np.float16))
            print(f"features: {architecture}, {shown}: {found.shape[1]} of each of {len(images):,} images", flush=True)

    return Node("features", f"features of {architecture}, {shown}", decides, (FEATURES,), make)


def all_views(workshop: Workshop, params: Params, network: Network, *, of_teachers: bool = False) -> list[Node]:
    """Return the nodes of the V augmented views, then of the clean one."""
    views = range(params.views.count + 1)
    return [features(workshop, params, network, view, of_teachers=of_teachers) for view in views]


def stored_features(
    workshop: Workshop, params: Params, network: Network, *, of_teachers: bool = False
) -> list[Path] | None:
    """Return the files of a network's features, made where they are missing; None for one that is trained whole."""
    if network.train == "all":
        return None
    nodes = all_views(workshop, params, network, of_teachers=of_teachers)
    workshop.store.get(nodes)
    return [workshop.store.file(node, FEATURES) for node in nodes]


def _definition(params: Params, view: int, of_teachers: bool) -> dict[str, Any] | None:
    """What a view is; None for the clean one."""
    ranges = PRESETS[params.views.preset]
    if view == params.views.count or ranges == Preset():
        return None
    return {"number": view, "seed": params.views.seed, "of_teachers": of_teachers, "ranges": asdict(ranges)}
