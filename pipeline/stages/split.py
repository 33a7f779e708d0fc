"""Stage `split`: train, validation and test by group."""

import pandas as pd

from pipeline.common.errors import UserError
from pipeline.common.files import atomic
from pipeline.common.layout import Layout
from pipeline.data import splits
from pipeline.data.prepared import read_samples
from pipeline.params.tree import Params


def run(params: Params, layout: Layout) -> None:
    """Write splits.csv, with the folds where split.folds is set, and show the samples per split and class."""
    samples = read_samples(layout, params.task)
    table = pd.DataFrame({"sample_id": samples.ids})
    try:
        table["split"] = splits.assign(samples.table, samples.published, samples.classes, params.split)
        if params.split.folds is not None:
            table["fold"] = splits.assign_folds(samples.table, samples.published, samples.classes, params.split)
    except UserError as error:  # the check passed with all images of the tables: some of them could not be read
        raise UserError(f"{error} (images that cannot be read are left out: {layout.data_report})") from None
    with atomic(layout.splits) as temporary:
        table.to_csv(temporary, index=False)
    split = table["split"].to_numpy(dtype=str)
    print(splits.counts(split, samples.published, samples.classes, samples.groups.tolist()).to_string())
