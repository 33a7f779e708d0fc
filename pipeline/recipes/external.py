"""The recipe of the external test set: its images decoded as our own were, and a report of what matches."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.common.errors import UserError
from pipeline.common.files import sha256_file, sha256_json, write_json
from pipeline.common.labels import SEPARATOR
from pipeline.common.layout import Layout
from pipeline.data.array import Decoded, decode_images, quarantined, readable_array, require_few_bad
from pipeline.data.external import Matched, equal_images, lookalikes, open_external
from pipeline.data.prepared import Samples, open_images, read_report, read_samples
from pipeline.data.sources.base import Source
from pipeline.params.tree import Params
from pipeline.recipes.code import fingerprint
from pipeline.recipes.store import Node, OnEpoch
from pipeline.runtime.parents import ParentWatch

IMAGES, SAMPLES, REPORT = "images.npy", "samples.csv", "report.json"
PARTS = "parts"
"""The folder of unfinished work, from which a killed run goes on."""


def external(params: Params, layout: Layout) -> Node:
    """Return the node of the external set's images, table and report. Raises UserError for a table that does not fit.

    Nothing is decoded again as long as the table, every image file and our own data are what they were.
    """
    ours, data = read_samples(layout, params.task), read_report(layout)
    source, matched = open_external(params, ours.classes, data["channels"])
    reader = source.open_images(Path())
    states = [reader.state(i) for i in range(len(source.samples))]  # type: ignore[attr-defined]
    (table,) = source.tables
    decides = {
        "code": fingerprint(__name__),
        "data": data["sha256"],
        "table": sha256_file(table),
        "columns": params.data.table.model_dump(mode="json"),
        "files": sha256_json(states),
        "size": [params.data.image_size, params.data.resize, data["channels"]],
    }

    def make(folder: Path, on_epoch: OnEpoch) -> None:
        parts = folder / PARTS
        parts.mkdir(exist_ok=True)
        try:
            decoded = decode_images(
                source,
                parts,
                params.data.image_size,
                workers=params.machine.workers,
                on_chunk=ParentWatch().require_alive,
            )
            require_few_bad(decoded, source, params.data.max_bad_fraction, parts / "unreadable.json")
        except UserError as error:
            raise UserError(f"robustness.external: {table}: {error}") from error
        readable_array(decoded).replace(folder / IMAGES)
        _describe(params, layout, folder, source, decoded, matched, ours)
        shutil.rmtree(parts)

    return Node("external", f"external test set {table}", decides, (IMAGES, SAMPLES, REPORT), make)


def _describe(
    params: Params, layout: Layout, folder: Path, source: Source, decoded: Decoded, matched: Matched, ours: Samples
) -> None:
    """Write the table and the report of the images that could be read."""
    samples = source.samples[decoded.good]
    samples.to_csv(folder / SAMPLES, index=False)
    images = np.load(folder / IMAGES, mmap_mode="r")
    met_again = equal_images(images, open_images(layout))
    ids = samples["sample_id"].to_numpy(dtype=str)
    report: dict[str, Any] = {
        "table": source.tables[0].name,
        "images": len(samples),
        "groups": int(samples["group_id"].nunique()),
        "quarantined": quarantined(decoded, source),
        "shared": list(matched.shared),
        "missing": list(matched.missing),
        "surplus": list(matched.surplus),
        "lookalikes": [list(pair) for pair in lookalikes(matched)],
        "counts": _counts(samples, (*matched.shared, *matched.surplus)),
        "judged": _judged(samples, params, matched.shared),
        "equal": len(met_again),
        "equal_to": [[str(ids[own]), str(ours.ids[other])] for own, other in met_again],
    }
    write_json(folder / REPORT, report)


def _counts(samples: pd.DataFrame, classes: Sequence[str]) -> dict[str, int]:
    names = [name for cell in samples["label"] for name in cell.split(SEPARATOR)]
    return {name: names.count(name) for name in classes}


def _judged(samples: pd.DataFrame, params: Params, shared: Sequence[str]) -> int:
    """How many images have a label that we can hold answers against."""
    return len(samples) if params.task == "multilabel" else int(samples["label"].isin(list(shared)).sum())
