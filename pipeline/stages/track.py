"""Stage `track`, always run and last: make the tracker agree with the artefacts, and show the table."""

from functools import partial

from pipeline import tracking
from pipeline.common.layout import Layout
from pipeline.data.again import decode_again
from pipeline.params.tree import Params


def run(params: Params, layout: Layout) -> None:
    """Restore what the tracker lacks, register the exported student, print the comparison."""
    summary = tracking.mirror(params, layout, partial(decode_again, params))
    print(f"\n{layout.table.read_text(encoding='utf-8')}\n{summary}\nreport: {layout.report}")
