"""Stage `noise`: the labels trained on, with injected noise and a person's corrections."""

import pandas as pd

from pipeline.common.files import atomic, write_json
from pipeline.common.labels import decode
from pipeline.common.layout import Layout
from pipeline.data import noise
from pipeline.data.given import given_labels
from pipeline.data.noise_summary import summarise, table
from pipeline.data.prepared import open_images, read_samples, read_split
from pipeline.params.tree import Params


def run(params: Params, layout: Layout) -> None:
    """Write labels.csv and noise.json, and show the realised noise."""
    samples, split = read_samples(layout, params.task), read_split(layout)
    published, classes = samples.published, samples.classes
    labels = given_labels(params, samples, split, open_images(layout))
    flipped = noise.changed(labels.noisy, published) & ~labels.corrected
    with atomic(layout.labels) as temporary:
        columns = {
            "sample_id": samples.ids,
            "given": decode(labels.given, classes),
            "published": decode(published, classes),
            "flipped": flipped.astype(int),
        }
        pd.DataFrame(columns).to_csv(temporary, index=False)
    realised = {name: float(flipped[split == name].mean()) for name in ("train", "val", "test")}
    affected, corrected = split != "test", int(labels.corrected.sum())
    summary = summarise(labels.noisy[affected], published[affected], classes, params.noise, labels.nominal)
    content = {"kind": params.noise.kind, "realised": realised, "corrected": corrected, **summary}
    write_json(layout.noise, content)
    if params.noise.kind != "none":
        print(table(summary))
    shares = ", ".join(f"{name} {rate:.1%}" for name, rate in realised.items())
    print(f"noise: {params.noise.kind}; images whose label changed: {shares}; {corrected} corrected by hand")
