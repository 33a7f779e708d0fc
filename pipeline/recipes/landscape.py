"""The recipe of a loss landscape: surface, slices, top eigenvalue and trace around one student's weights."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from models.classifier import load_weights
from pipeline.common.errors import SettingError
from pipeline.common.files import atomic, sha256_file, write_json
from pipeline.common.layout import Layout
from pipeline.common.seeds import stream
from pipeline.data.views import Views
from pipeline.distillation.losses import supervised_loss
from pipeline.distillation.methods import METHODS
from pipeline.evaluation import hessian
from pipeline.evaluation import landscape as around
from pipeline.evaluation.landscape import Losses, UndefinedLossError, Weights, image_losses
from pipeline.params.landscape import LandscapeParams
from pipeline.params.tree import Params
from pipeline.recipes.bench import Bench
from pipeline.recipes.code import fingerprint
from pipeline.recipes.features import FEATURES, features
from pipeline.recipes.pretrained import decisive
from pipeline.recipes.store import Node, OnEpoch
from pipeline.recipes.workshop import Workshop, digest_of
from pipeline.runtime.progress import Progress
from pipeline.training.inputs import Features, Inputs, Pixels
from pipeline.training.resume import ResumeFile

SURFACE, SLICES, SHARPNESS = "surface.csv", "slices.csv", "sharpness.json"
AT_ONCE = 64
"""Images in memory at a time, with what two derivatives need of them."""

RETRAIN = "Train it with a lower training.lr, or leave its method out of landscape.methods"


@dataclass(frozen=True)
class Scene:
    """A trained student and the test images that its loss is the mean of; `single` gives the images one by one."""

    title: str
    trained: Path
    weights: Weights
    losses: Losses
    single: Losses
    images: int


def landscape(workshop: Workshop, params: Params, layout: Layout, seed: int, method: str) -> Node:
    """Return the node of the landscape around the student of one method.

    All students of an experiment get the same images and the same draws of directions. Of a head on stored features
    the weights are the head's alone.
    """
    own, network, prepared = METHODS[method], params.student_network, workshop.data.prepared(params)
    trained = layout.student_weights(seed, own.pool, own.run, own.checkpoint)
    test = prepared.rows("test")
    images = min(params.landscape.images, len(test))
    chosen = stream(params.landscape.seed, "landscape/images", 0).choice(len(test), images, False)
    chosen.sort()
    title = f"landscape {method}, seed {seed}"
    decides = {
        "code": fingerprint(__name__),
        "data": workshop.data.digest,
        "images": digest_of(test[chosen]),
        "targets": digest_of(prepared.targets("test")[chosen]),
        "student": sha256_file(trained),
        "network": decisive(network),
        "landscape": params.landscape.model_dump(mode="json", exclude={"methods"}),
    }

    def make(folder: Path, on_epoch: OnEpoch) -> None:
        bench = workshop.bench(params, seed)
        inputs, view = _inputs(workshop, params, bench)
        model = bench.built(replace(network, weights=None), inputs)
        load_weights(model, trained)
        targets = torch.from_numpy(prepared.targets("test")[chosen]).to(bench.device)
        scene = _scene(title, trained, model.to(bench.device), bench, inputs, view, test[chosen], targets)
        _explore(scene, params.landscape, ResumeFile(folder / "resume.pt"), folder, params.student.train)

    return Node("landscapes", title, decides, (SURFACE, SLICES, SHARPNESS), make)


def _inputs(workshop: Workshop, params: Params, bench: Bench) -> tuple[Inputs, int]:
    """What the student takes in, and the number of the clean view."""
    if params.student_network.train == "head":
        node = features(workshop, params, params.student_network, params.views.count)
        workshop.store.get([node])
        return Features([workshop.store.file(node, FEATURES)], bench.device), 0
    views = Views(params.views, len(bench.prepared.images))
    return Pixels(bench.prepared.images, views, bench.device), views.count


def _scene(
    title: str,
    trained: Path,
    model: nn.Module,
    bench: Bench,
    inputs: Inputs,
    view: int,
    rows: np.ndarray,
    targets: Tensor,
) -> Scene:
    batches = np.split(rows, range(AT_ONCE, len(rows), AT_ONCE))
    blocks = list(zip(inputs.read(batches, [view] * len(batches)), targets.split(AT_ONCE), strict=True))
    single = [pair for block in blocks for pair in zip(block[0].split(1), block[1].split(1), strict=True)]
    criterion = partial(supervised_loss, task=bench.prepared.task)
    weights = {name: weight.detach() for name, weight in model.named_parameters()}
    losses, alone = (image_losses(model, criterion, pairs) for pairs in (blocks, single))
    return Scene(title, trained, weights, losses, alone, len(rows))


def _explore(scene: Scene, params: LandscapeParams, kept: ResumeFile, folder: Path, trained: str) -> None:
    """Compute all parts, each kept as it is finished, and write the three files."""
    losses, weights, draws = scene.losses, scene.weights, params.hessian.draws
    device = next(iter(weights.values())).device
    found: dict[str, list[Any]] = kept.load(device) or {"surface": [], "slices": [], "eigenvalue": [], "trace": []}
    steps, fine = (around.axis(params.radius, points) for points in (params.grid, around.slice_points(params.grid)))
    directions = [around.direction(weights, params.seed, number) for number in (1, 2)]
    makers: dict[str, tuple[int, Callable[[int], Any]]] = {
        "surface": (
            params.grid,
            lambda row: around.surface_row(losses, weights, directions, steps, float(steps[row]), params.clamp),
        ),
        "slices": (2, lambda along: around.slice_along(losses, weights, directions[along], fine, params.clamp)),
        "eigenvalue": (1, lambda _: _eigenvalue(scene, params)),
        "trace": (draws, lambda draw: hessian.trace_draw(losses, weights, params.seed, draw)),
    }
    try:
        centre = around.loss_at(losses, weights, [], [], np.inf)
        with Progress(scene.title, sum(count for count, _ in makers.values()), "part") as progress:
            progress.advance(sum(map(len, found.values())))
            for name, (count, make) in makers.items():
                for number in range(len(found[name]), count):
                    found[name].append(make(number))
                    kept.save(found)
                    progress.advance(1, name)
    except UndefinedLossError as error:
        raise SettingError(_remedy(error, scene, params)) from error
    except FloatingPointError as error:
        raise SettingError(f"{scene.trained}: {error}. {RETRAIN}") from error
    _write(folder, found, steps, fine)
    write_json(folder / SHARPNESS, _sharpness(scene, params, found, centre, trained))


def _eigenvalue(scene: Scene, params: LandscapeParams) -> dict[str, Any]:
    start = hessian.random_vector(scene.weights, params.seed, "landscape/eigenvalue", 0)
    found = hessian.top_eigenvalue(
        lambda vector: hessian.hessian_product(scene.losses, scene.weights, vector),
        start,
        params.hessian.tolerance,
        params.hessian.iterations,
    )
    by_image = hessian.curvatures(scene.single, scene.weights, found.vector)
    return {
        "value": found.value,
        "standard_error": hessian.standard_error(by_image),
        "residual": found.residual,
        "iterations": found.iterations,
        "converged": found.converged,
    }


def _sharpness(
    scene: Scene, params: LandscapeParams, found: Mapping[str, Sequence[Any]], centre: float, trained: str
) -> dict[str, Any]:
    trace = np.array(found["trace"])
    return {
        "weights": {"all": "all", "head": "head alone"}[trained],
        "parameters": sum(weight.numel() for weight in scene.weights.values()),
        "images": scene.images,
        "loss": centre,
        "clamped": int((np.array(found["surface"]) >= params.clamp).sum()),
        "top_eigenvalue": found["eigenvalue"][0],
        "trace": {
            "value": float(trace.mean()),
            "standard_error": hessian.standard_error(trace),
            "draws": len(trace),
        },
    }


def _write(folder: Path, found: Mapping[str, Sequence[Any]], steps: np.ndarray, fine: np.ndarray) -> None:
    first, second = np.meshgrid(steps, steps, indexing="ij")
    surface = {"step_1": first.ravel(), "step_2": second.ravel(), "loss": np.ravel(found["surface"])}
    slices = {
        "direction": np.repeat([1, 2], len(fine)),
        "step": np.tile(fine, 2),
        "loss": np.ravel(found["slices"]),
    }
    for name, columns in ((SURFACE, surface), (SLICES, slices)):
        with atomic(folder / name) as temporary:
            pd.DataFrame(columns).to_csv(temporary, index=False)


def _remedy(error: UndefinedLossError, scene: Scene, params: LandscapeParams) -> str:
    if not any(error.steps):
        return f"{scene.trained}: the student answers NaN for test images, so that it has no loss landscape. {RETRAIN}"
    return (
        f"landscape.radius is {params.radius:g}: {error}, where {scene.trained} with other weights answers NaN. Set "
        "landscape.radius lower"
    )
