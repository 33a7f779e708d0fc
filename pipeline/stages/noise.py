"""Stage `noise`: the labels trained on, with injected noise and a person's corrections."""

import numpy as np
import pandas as pd

from pipeline.common import layout as artifacts
from pipeline.common.files import atomic, write_json
from pipeline.common.labels import decode, encode
from pipeline.common.tables import read_csv
from pipeline.data import noise
from pipeline.data.given import given_labels
from pipeline.data.noise_summary import summarise, table
from pipeline.data.prepared import read_classes
from pipeline.params.tree import Params


def run(params: Params) -> None:
    """Write labels.csv and noise.json, and show the realised noise."""
    samples, classes = read_csv(artifacts.SAMPLES), read_classes()
    split = read_csv(artifacts.SPLITS)["split"].to_numpy(dtype=str)
    published = encode(samples["label"], classes, params.task, origin=str(artifacts.SAMPLES))
    images = np.load(artifacts.IMAGES, mmap_mode="r")
    labels = given_labels(params, classes, samples["sample_id"].to_numpy(dtype=str), split, published, images)
    flipped = noise.changed(labels.noisy, published) & ~labels.corrected
    with atomic(artifacts.LABELS) as temporary:
        columns = {
            "sample_id": samples["sample_id"],
            "given": decode(labels.given, classes),
            "published": decode(published, classes),
            "flipped": flipped.astype(int),
        }
        pd.DataFrame(columns).to_csv(temporary, index=False)
    realised = {name: float(flipped[split == name].mean()) for name in ("train", "val", "test")}
    affected, corrected = split != "test", int(labels.corrected.sum())
    summary = summarise(labels.noisy[affected], published[affected], classes, params.noise, labels.nominal)
    content = {"kind": params.noise.kind, "realised": realised, "corrected": corrected, **summary}
    write_json(artifacts.NOISE, content)
    if params.noise.kind != "none":
        print(table(summary))
    shares = ", ".join(f"{name} {rate:.1%}" for name, rate in realised.items())
    print(f"noise: {params.noise.kind}; images whose label changed: {shares}; {corrected} corrected by hand")
