"""Stage `check`: find every mistake before anything runs, since DVC deletes a stage's outputs before its command."""

from pathlib import Path

import pandas as pd

from pipeline import artifacts
from pipeline.data import splits
from pipeline.data.corrections import correct, read_corrections
from pipeline.data.sources import open_source
from pipeline.files import write_text
from pipeline.labels import encode
from pipeline.params import Params


def run(params: Params) -> None:
    """Validate parameters (already typed), paths, label tables, corrections and splits; write a constant file.

    The file never changes, so that a passed check makes no other stage run again. Raises UserError.
    """
    inspect(params)
    write_text(artifacts.CHECKED, "params.yaml and the data it names are in order\n")


def inspect(params: Params) -> pd.DataFrame:
    """Do the checks and return the samples per split and class; writes nothing."""
    if params.training.device == "cuda":
        from pipeline.training.device import pick_device  # importing torch takes seconds

        pick_device(params.training.device)
    source = open_source(params)
    targets = encode(source.samples["label"], source.classes, params.task, origin=f"data.path {params.data.path}")
    split = splits.assign(source.samples, targets, source.classes, params.split)
    path = Path(params.data.corrections)
    corrections = read_corrections(path, source.classes, params.task)
    correct(targets, source.samples["sample_id"].to_numpy(dtype=str), split, corrections, path)
    return splits.counts(split, targets, source.classes)
