"""Stage `external`: the images of `robustness.external`, decoded as our own were; nothing where it is null."""

from pipeline.common.files import write_json
from pipeline.common.layout import Layout
from pipeline.data.external_set import read_external_report
from pipeline.params.tree import Params
from pipeline.report.external import sentences


def run(params: Params, layout: Layout) -> None:
    """Write external/: images.npy, samples.csv and report.json, or the report alone, which says that there is none.

    It always runs, since DVC cannot depend on a file that may be null: a second where nothing has changed.
    """
    if params.robustness.external is None:
        for stale in (layout.external_images, layout.external_samples):
            stale.unlink(missing_ok=True)
        write_json(layout.external_report, {"table": None})
        return
    from pipeline.recipes.external import IMAGES, REPORT, SAMPLES, external  # torch takes seconds
    from pipeline.recipes.store import Store, link

    store, node = Store(layout.store), external(params, layout)
    store.get([node])
    link(store, {name: (node, name) for name in (IMAGES, SAMPLES, REPORT)}, layout.external)
    report = read_external_report(layout)
    assert report is not None
    print("\n".join(f"external: {line}" for line in sentences(report)), flush=True)
