"""Stage `check`: find every mistake before anything runs, since DVC deletes a stage's outputs before its command."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from models.names import TIMM
from pipeline.common.errors import UserError
from pipeline.common.files import write_text
from pipeline.common.labels import encode
from pipeline.common.layout import Layout
from pipeline.common.tables import read_csv
from pipeline.data import splits
from pipeline.data.corrections import correct, read_corrections
from pipeline.data.external import open_external
from pipeline.data.noise_matrix import nominal
from pipeline.data.sources import open_source
from pipeline.params.tree import NoiseParams, Params

BUILT_IN_MATRIX = "presets/noise/lesion_confusion.csv"


def run(params: Params, layout: Layout) -> None:
    """Validate parameters (already typed), paths, tables, splits, noise and corrections; write a constant file.

    The file never changes, so that a passed check makes no other stage run again. Raises UserError.
    """
    inspect(params, layout)
    write_text(layout.checked, "params.yaml and the data it names are in order\n")


def inspect(params: Params, layout: Layout) -> pd.DataFrame:
    """Do the checks and return the samples per split and class; writes nothing."""
    if params.machine.device == "cuda":
        from pipeline.training.device import pick_device  # importing torch takes seconds

        pick_device(params.machine.device)
    _require_matrix_file(params.noise)
    _require_networks(params)
    source = open_source(params)
    targets = encode(source.samples["label"], source.classes, params.task, origin=f"data.path {params.data.path}")
    split = splits.assign(source.samples, targets, source.classes, params.split)
    nominal(params.noise, source.classes)
    ids = source.samples["sample_id"].to_numpy(dtype=str)
    if params.robustness.external is not None:
        open_external(params, source.classes, source.channels)
    _check_corrections(params, layout, source.classes, ids, targets, split)
    return splits.counts(split, targets, source.classes, source.samples["group_id"])


def _require_networks(params: Params) -> None:
    """Try the networks of timm and the files of weights; nothing is downloaded."""
    named = {(network.architecture, network.weights): network for network in params.networks}
    for network in named.values():
        by_timm, own_file = network.architecture.startswith(TIMM), network.weights not in (None, "imagenet")
        if own_file:
            from models.networks import build  # importing torch takes seconds

            build(network.architecture, num_classes=2, weights=network.weights, **network.layers)
        if by_timm:
            from models.timm_networks import require_network

            require_network(network.architecture, params.data.image_size)


def _require_matrix_file(params: NoiseParams) -> None:
    """DVC hashes the file whatever the kind is, and its own message for a missing one does not name the parameter."""
    if not Path(params.matrix).is_file():
        used = "" if params.kind == "matrix" else f" (noise.kind {params.kind} does not read it, but DVC hashes it)"
        raise UserError(
            f"noise.matrix is {params.matrix!r}: no such file{used}; name a CSV that exists, such as the "
            f"repository's own {BUILT_IN_MATRIX}"
        )


def _check_corrections(
    params: Params,
    layout: Layout,
    classes: Sequence[str],
    sample_ids: np.ndarray,
    targets: np.ndarray,
    split: np.ndarray,
) -> None:
    """Check ids and labels; which samples are in the test split is known only where every image can be read.

    Where the last `prepare` left images out, the split is drawn again without them, and stage `noise` checks that.
    """
    path = Path(params.data.corrections)
    corrections = read_corrections(path, classes, params.task)
    if len(corrections[0]) == 0:
        return
    if layout.samples.exists() and set(read_csv(layout.samples)["sample_id"]) < set(sample_ids.tolist()):
        split = np.full(len(split), "train")
    correct(targets, sample_ids, split, corrections, path)
