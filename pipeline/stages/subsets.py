"""Stage `subsets`: which teacher trains on which training sample."""

import numpy as np
import pandas as pd

from pipeline.common import layout as artifacts
from pipeline.common.files import atomic
from pipeline.common.labels import encode
from pipeline.common.tables import read_csv
from pipeline.data.prepared import read_classes
from pipeline.data.subsets import membership
from pipeline.params.tree import Params


def run(params: Params) -> None:
    """Write subsets.csv: one row per training sample, one 0/1 column per teacher."""
    samples, classes = read_csv(artifacts.SAMPLES), read_classes()
    train = (read_csv(artifacts.SPLITS)["split"] == "train").to_numpy()
    given = encode(read_csv(artifacts.LABELS)["given"], classes, params.task, origin=str(artifacts.LABELS))[train]
    groups = pd.factorize(samples["group_id"][train])[0]
    architectures = params.teachers.architectures
    members = membership(given, groups, len(classes), len(architectures), params.subsets)
    table = pd.DataFrame(members.astype(int), columns=pd.Index(architectures))
    table.insert(0, "sample_id", samples["sample_id"][train].to_numpy())
    with atomic(artifacts.SUBSETS) as temporary:
        table.to_csv(temporary, index=False)
    sizes = ", ".join(f"{name} {size}" for name, size in zip(architectures, np.sum(members, axis=0), strict=True))
    print(f"subsets: {params.subsets.scheme}, overlap {params.subsets.overlap:g}: {sizes} of {len(members)}")
