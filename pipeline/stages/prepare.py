"""Stage `prepare`: decode and resize every image once; write the array, the table and the data report."""

import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import PIL

import models
from pipeline.common.errors import UserError
from pipeline.common.files import flush, sha256_file, sha256_json, write_json
from pipeline.common.labels import encode, indicator
from pipeline.common.layout import Layout
from pipeline.data.array import Decoded, decode_images, quarantined, readable_array, require_few_bad
from pipeline.data.duplicates import Duplicates, across_groups
from pipeline.data.sources import Source, open_source
from pipeline.params.tree import Params, of_images
from pipeline.recipes.store import Store
from pipeline.runtime.parents import ParentWatch

LISTED_SIZES = 20
DECODER = Path(models.__file__).parent


def run(params: Params, layout: Layout) -> None:
    """Write images.npy, samples.csv and report.json; a killed run continues where it stopped."""
    _require_writable(layout.images.parent)
    source = open_source(params)
    tables = {path.name: sha256_file(path) for path in source.tables}
    with Store(layout.store).workspace("images", _decides(params, source, tables)) as folder:
        try:
            decoded = decode_images(
                source,
                folder,
                params.data.image_size,
                workers=params.machine.workers,
                on_chunk=ParentWatch().require_alive,
            )
        except KeyboardInterrupt:
            print("\nprepare: stopped; what is finished is kept, the next run continues from there", file=sys.stderr)
            raise
        require_few_bad(decoded, source, params.data.max_bad_fraction, folder / "unreadable.json")
        _finish(params, layout, source, decoded, tables, folder)


def _finish(
    params: Params, layout: Layout, source: Source, decoded: Decoded, tables: dict[str, str], folder: Path
) -> None:
    """Move what is in `folder` into place."""
    samples = source.samples[decoded.good]
    duplicates = across_groups(samples, decoded.hashes[decoded.good])
    array = readable_array(decoded)
    table = folder / layout.samples.name
    samples.to_csv(table, index=False)
    hashes = tables | {layout.images.name: sha256_file(array), layout.samples.name: sha256_file(table)}
    report = _report(params, layout, source, decoded, duplicates, hashes)
    flush(array)
    layout.data_report.unlink(missing_ok=True)  # a report is there only beside the array it describes
    array.replace(layout.images)
    table.replace(layout.samples)
    write_json(layout.data_report, report)
    _print_summary(layout, report)


def _report(
    params: Params, layout: Layout, source: Source, decoded: Decoded, duplicates: Duplicates, hashes: dict[str, str]
) -> dict[str, Any]:
    samples = source.samples[decoded.good]
    targets = encode(samples["label"], source.classes, params.task, origin=str(layout.samples))
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


def _print_summary(layout: Layout, report: dict[str, Any]) -> None:
    print(f"prepare: {report['images']} images of {report['groups']} groups, {len(report['quarantined'])} quarantined")
    if report["duplicate_sets"]:
        print(
            f"prepare: warning: {report['duplicate_sets']} sets of images have the same pixels but belong to different "
            f"groups, {report['conflicting_sets']} of them under different labels; {layout.data_report} lists them"
        )


def _decides(params: Params, source: Source, tables: dict[str, str]) -> dict[str, Any]:
    """What the pixels depend on; the image files themselves are compared one by one."""
    return {
        "task": params.task,
        "data": params.data.model_dump(mode="json", exclude={"corrections", "max_bad_fraction"}),
        "tables": tables,
        "samples": [len(source.samples), int(pd.util.hash_pandas_object(source.samples).sum())],
        "channels": source.channels,
        "decoder": [PIL.__version__, *(sha256_file(DECODER / name) for name in ("images.py", "dicom.py", "pixels.py"))],
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
