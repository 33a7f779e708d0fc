"""Stage `track`, always run and last: make the tracker agree with the artefacts, and show the table."""

from pipeline import tracking
from pipeline.common import layout as artifacts
from pipeline.params.tree import Params


def run(params: Params) -> None:
    """Restore what the tracker lacks, register the smoothed student, print the comparison."""
    told = tracking.mirror(params) if params.tracking.enabled else "tracking is off (tracking.enabled: false)"
    print(f"\n{artifacts.TABLE.read_text(encoding='utf-8')}\n{told}\nreport: {artifacts.REPORT}")
