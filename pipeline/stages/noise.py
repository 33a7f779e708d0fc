"""Stage `noise`: the labels trained on, with injected noise and a person's corrections."""

from pathlib import Path

import numpy as np
import pandas as pd

from pipeline import artifacts
from pipeline.data import noise
from pipeline.data.corrections import correct, read_corrections
from pipeline.data.noise_matrix import nominal
from pipeline.data.noise_summary import summarise, table
from pipeline.data.prepared import read_classes
from pipeline.files import atomic, write_json
from pipeline.labels import decode, encode
from pipeline.params import Params
from pipeline.tables import read_csv


def run(params: Params) -> None:
    """Write labels.csv and noise.json, and show the realised noise."""
    samples, classes = read_csv(artifacts.SAMPLES), read_classes()
    split = read_csv(artifacts.SPLITS)["split"].to_numpy(dtype=str)
    published = encode(samples["label"], classes, params.task, origin=str(artifacts.SAMPLES))
    affected = split != "test"
    images = np.load(artifacts.IMAGES, mmap_mode="r") if params.noise.kind == "instance" else None
    matrix = nominal(params.noise, classes)
    noisy = noise.corrupt(published, affected, len(classes), params.noise, transition=matrix, images=images)
    path = Path(params.data.corrections)
    corrections = read_corrections(path, classes, params.task)
    given, corrected = correct(noisy, samples["sample_id"].to_numpy(dtype=str), split, corrections, path)
    flipped = noise.changed(noisy, published) & ~corrected
    with atomic(artifacts.LABELS) as temporary:
        columns = {
            "sample_id": samples["sample_id"],
            "given": decode(given, classes),
            "published": decode(published, classes),
            "flipped": flipped.astype(int),
        }
        pd.DataFrame(columns).to_csv(temporary, index=False)
    realised = {name: float(flipped[split == name].mean()) for name in ("train", "val", "test")}
    summary = summarise(noisy[affected], published[affected], classes, params.noise, matrix)
    content = {"kind": params.noise.kind, "realised": realised, "corrected": int(corrected.sum()), **summary}
    write_json(artifacts.NOISE, content)
    if params.noise.kind != "none":
        print(table(summary))
    shares = ", ".join(f"{name} {rate:.1%}" for name, rate in realised.items())
    print(f"noise: {params.noise.kind}; images whose label changed: {shares}; {int(corrected.sum())} corrected by hand")
