"""Stage `split`: train, validation and test by group."""

import pandas as pd

from pipeline.common import layout as artifacts
from pipeline.common.errors import UserError
from pipeline.common.files import atomic
from pipeline.common.labels import encode
from pipeline.common.tables import read_csv
from pipeline.data import splits
from pipeline.data.prepared import read_classes
from pipeline.params.tree import Params


def run(params: Params) -> None:
    """Write splits.csv, with the folds where split.folds is set, and show the samples per split and class."""
    samples, classes = read_csv(artifacts.SAMPLES), read_classes()
    targets = encode(samples["label"], classes, params.task, origin=str(artifacts.SAMPLES))
    table = pd.DataFrame({"sample_id": samples["sample_id"]})
    try:
        table["split"] = splits.assign(samples, targets, classes, params.split)
        if params.split.folds is not None:
            table["fold"] = splits.assign_folds(samples, targets, classes, params.split)
    except UserError as error:  # the check passed with all images of the tables: some of them could not be read
        raise UserError(f"{error} (images that cannot be read are left out: {artifacts.DATA_REPORT})") from None
    with atomic(artifacts.SPLITS) as temporary:
        table.to_csv(temporary, index=False)
    print(splits.counts(table["split"].to_numpy(dtype=str), targets, classes, samples["group_id"]).to_string())
