"""Stage `report`: the table, the plots and the page, from the artefacts alone."""

from pipeline.common import layout as artifacts
from pipeline.params.tree import Params
from pipeline.report import page


def run(params: Params) -> None:
    """Write report/index.html, report/table.txt and report/figures/."""
    page.build(params)
    print(f"report: {artifacts.REPORT}")
