"""Stage `split`: train, validation and test by group."""

import pandas as pd

from pipeline import artifacts
from pipeline.data import splits
from pipeline.data.prepared import read_classes
from pipeline.files import atomic
from pipeline.labels import encode
from pipeline.params import Params
from pipeline.tables import read_csv


def run(params: Params) -> None:
    """Write splits.csv and show the samples per split and class."""
    samples, classes = read_csv(artifacts.SAMPLES), read_classes()
    targets = encode(samples["label"], classes, params.task, origin=str(artifacts.SAMPLES))
    split = splits.assign(samples, targets, classes, params.split)
    with atomic(artifacts.SPLITS) as temporary:
        pd.DataFrame({"sample_id": samples["sample_id"], "split": split}).to_csv(temporary, index=False)
    print(splits.counts(split, targets, classes).to_string())
