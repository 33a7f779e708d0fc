"""Stage `report`: the table, the plots and the page, from the artefacts alone."""

from pipeline.common.layout import Layout
from pipeline.params.tree import Params
from pipeline.report import page


def run(params: Params, layout: Layout) -> None:
    """Write report/index.html, report/table.txt and report/figures/."""
    page.build(params, layout)
    print(f"report: {layout.report}")
