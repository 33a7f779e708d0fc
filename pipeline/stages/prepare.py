"""Stage `prepare`: decode and resize every image once; write the array, the table and the data report."""

import numpy as np

from pipeline import artifacts
from pipeline.data.array import write_images
from pipeline.data.sources import open_source
from pipeline.files import atomic, sha256_file, sha256_json, write_json
from pipeline.labels import encode, indicator
from pipeline.params import Params


def run(params: Params) -> None:
    """Write images.npy, samples.csv and report.json."""
    source = open_source(params)
    bad = write_images(source, artifacts.IMAGES, params.data.image_size, params.data.max_bad_fraction)
    samples = source.samples[~source.samples["sample_id"].isin(list(bad))]
    with atomic(artifacts.SAMPLES) as temporary:
        samples.to_csv(temporary, index=False)
    targets = encode(samples["label"], source.classes, params.task, origin=str(artifacts.SAMPLES))
    counts = indicator(targets, len(source.classes)).sum(axis=0)
    hashes = {path.name: sha256_file(path) for path in source.tables}
    hashes |= {path.name: sha256_file(path) for path in (artifacts.IMAGES, artifacts.SAMPLES)}
    write_json(
        artifacts.DATA_REPORT,
        {
            "source": params.data.source,
            "task": params.task,
            "classes": list(source.classes),
            "image_size": params.data.image_size,
            "channels": source.channels,
            "images": len(samples),
            "groups": int(samples["group_id"].nunique()),
            "counts": dict(zip(source.classes, map(int, counts), strict=True)),
            "without_label": int(np.count_nonzero(samples["label"] == "")),
            "skipped": bad,
            "hashes": hashes,
            "sha256": sha256_json(hashes),
        },
    )
    print(f"prepare: {len(samples)} images of {samples['group_id'].nunique()} groups, {len(bad)} skipped")
