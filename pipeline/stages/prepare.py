"""Stage `prepare`: decode and resize every image once; write the array, the table and the data report."""

import os
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import PIL

import models
from pipeline.common import layout as artifacts
from pipeline.common.errors import UserError
from pipeline.common.files import sha256_file, sha256_json, write_json
from pipeline.common.labels import encode, indicator
from pipeline.data.array import Decoded, decode_images, quarantined, readable_array, require_few_bad
from pipeline.data.duplicates import Duplicates, across_groups
from pipeline.data.sources import Source, open_source
from pipeline.params.tree import Params, of_images
from pipeline.recipes.resume_folder import ResumeFolder
from pipeline.runtime.parents import ParentWatch

LISTED_SIZES = 20
DECODER = Path(models.__file__).parent


def run(params: Params) -> None:
    """Write images.npy, samples.csv and report.json; a killed run goes on where it stopped."""
    _require_writable(artifacts.IMAGES.parent)
    source = open_source(params)
    tables = {path.name: sha256_file(path) for path in source.tables}
    resume = ResumeFolder("prepare", _decides(params, source, tables))
    try:
        decoded = decode_images(
            source,
            resume.path,
            params.data.image_size,
            workers=params.data.workers,
            on_chunk=ParentWatch().require_alive,
        )
    except KeyboardInterrupt:
        print("\nprepare: stopped; what is finished is kept, the next run goes on from there", file=sys.stderr)
        raise
    require_few_bad(decoded, source, params.data.max_bad_fraction, resume.path / "unreadable.json")
    samples = source.samples[decoded.good]
    duplicates = across_groups(samples, decoded.hashes[decoded.good])
    array = readable_array(decoded)
    table = resume.path / artifacts.SAMPLES.name
    samples.to_csv(table, index=False)
    hashes = tables | {artifacts.IMAGES.name: sha256_file(array), artifacts.SAMPLES.name: sha256_file(table)}
    report = _report(params, source, decoded, duplicates, hashes)
    with array.open("rb") as stream:
        os.fsync(stream.fileno())  # a loss of power must not leave an array that looks finished
    artifacts.DATA_REPORT.unlink(missing_ok=True)  # a report stands only beside the array it speaks of
    array.replace(artifacts.IMAGES)
    table.replace(artifacts.SAMPLES)
    write_json(artifacts.DATA_REPORT, report)
    resume.remove()
    _tell(report)


def _report(
    params: Params, source: Source, decoded: Decoded, duplicates: Duplicates, hashes: dict[str, str]
) -> dict[str, Any]:
    samples = source.samples[decoded.good]
    targets = encode(samples["label"], source.classes, params.task, origin=str(artifacts.SAMPLES))
    counts = indicator(targets, len(source.classes)).sum(axis=0)
    sizes = met_sizes(decoded.sizes[decoded.good])
    return {
        "source": params.data.source,
        "task": params.task,
        "classes": list(source.classes),
        "image_size": params.data.image_size,
        "channels": source.channels,
        "images": len(samples),
        "groups": int(samples["group_id"].nunique()),
        "counts": dict(zip(source.classes, map(int, counts), strict=True)),
        "without_label": int(np.count_nonzero(samples["label"] == "")),
        "sizes": sizes[:LISTED_SIZES],
        "other_sizes": max(0, len(sizes) - LISTED_SIZES),
        "quarantined": quarantined(decoded, source),
        "duplicate_sets": duplicates.sets,
        "conflicting_sets": duplicates.conflicting,
        "duplicates": duplicates.listed,
        "params": of_images(params),
        "hashes": hashes,
        "sha256": sha256_json(hashes),
    }


def met_sizes(sizes: np.ndarray) -> list[dict[str, int]]:
    """Count heights and widths, int (N, 2): `height, width, images`, the most frequent first."""
    counted = Counter(map(tuple, sizes.tolist()))
    ordered = sorted(counted.items(), key=lambda item: (-item[1], item[0]))
    return [{"height": height, "width": width, "images": images} for (height, width), images in ordered]


def _tell(report: dict[str, Any]) -> None:
    print(f"prepare: {report['images']} images of {report['groups']} groups, {len(report['quarantined'])} quarantined")
    if report["duplicate_sets"]:
        print(
            f"prepare: warning: {report['duplicate_sets']} sets of images have the same pixels but lie in different "
            f"groups, {report['conflicting_sets']} of them under different labels; {artifacts.DATA_REPORT} lists them"
        )


def _decides(params: Params, source: Source, tables: dict[str, str]) -> dict[str, Any]:
    """What the pixels depend on; the image files themselves are compared one by one."""
    return {
        "task": params.task,
        "data": params.data.model_dump(mode="json", exclude={"corrections", "max_bad_fraction", "workers"}),
        "tables": tables,
        "samples": [len(source.samples), int(pd.util.hash_pandas_object(source.samples).sum())],
        "channels": source.channels,
        "decoder": [PIL.__version__, *(sha256_file(DECODER / name) for name in ("images.py", "dicom.py"))],
    }


def _require_writable(folder: Path) -> None:
    """Raise UserError unless `folder` takes files: not after an hour of decoding."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be written ({error.strerror}), and prepare puts its results there. Make the folder "
            "writable, or run in a copy of the project that is"
        ) from None
