"""Stage `subsets`: which teacher trains on which training sample."""

import pandas as pd

from pipeline.common.files import atomic
from pipeline.common.layout import Layout
from pipeline.data.prepared import load_prepared
from pipeline.data.subsets import members_of
from pipeline.params.tree import Params


def run(params: Params, layout: Layout) -> None:
    """Write subsets.csv: one row per training sample, one 0/1 column per teacher."""
    prepared = load_prepared(layout, params.task)
    members = members_of(prepared, params)
    train = prepared.rows("train")
    columns = {name: member.astype(int) for name, member in members.items()}
    with atomic(layout.subsets) as temporary:
        pd.DataFrame({"sample_id": prepared.sample_ids[train], **columns}).to_csv(temporary, index=False)
    sizes = ", ".join(f"{name} {member.sum()}" for name, member in members.items())
    print(f"subsets: {params.subsets.scheme}, overlap {params.subsets.overlap:g}: {sizes} of {len(train)}")
