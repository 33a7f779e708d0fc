"""Artefacts of the stages prepare and split, made without images to decode."""

import json
from collections.abc import Sequence

import numpy as np
import pandas as pd

from pipeline.common.files import sha256_file
from pipeline.common.layout import Layout
from pipeline.data.prepared import REPORT_FIELDS


def write_prepared(
    layout: Layout,
    classes: Sequence[str],
    labels: Sequence[str],
    *,
    images: np.ndarray | None = None,
    groups: Sequence[str] | None = None,
    **report: object,
) -> None:
    """Write images.npy, samples.csv and report.json of the samples s0, s1, …; `report`: fields that a test reads."""
    layout.samples.parent.mkdir(parents=True, exist_ok=True)
    ids = [f"s{i}" for i in range(len(labels))]
    pd.DataFrame({"sample_id": ids, "group_id": groups or ids, "label": labels}).to_csv(layout.samples, index=False)
    np.save(layout.images, np.zeros((len(ids), 4, 4, 1), np.uint8) if images is None else images)
    content = dict.fromkeys(REPORT_FIELDS) | {"classes": list(classes), "sha256": "0" * 64} | report
    layout.data_report.write_text(json.dumps(content))
    write_hashes(layout)


def write_hashes(layout: Layout) -> None:
    """Take up the files as they are now into report.json, as if prepare had written them."""
    report = json.loads(layout.data_report.read_text())
    report["hashes"] = {path.name: sha256_file(path) for path in (layout.images, layout.samples) if path.exists()}
    layout.data_report.write_text(json.dumps(report))


def write_split(layout: Layout, split: Sequence[str] | np.ndarray) -> None:
    """Write splits.csv of the samples s0, s1, …"""
    layout.splits.parent.mkdir(parents=True, exist_ok=True)
    ids = [f"s{i}" for i in range(len(split))]
    pd.DataFrame({"sample_id": ids, "split": split}).to_csv(layout.splits, index=False)
