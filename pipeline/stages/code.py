"""Stage `code`: a fingerprint of the code behind each stage, which the other stages depend on in place of modules."""

from pipeline.common.files import replace_folder, write_text
from pipeline.common.layout import Layout
from pipeline.params.tree import Params
from pipeline.recipes.code import fingerprint

FINGERPRINTED = (
    "prepare", "split", "noise", "subsets", "features", "external", "teacher", "soft_labels", "student", "evaluate",
    "audit", "landscape", "robustness", "robustness_compare", "shift", "export", "report",
)  # fmt: skip


def run(params: Params, layout: Layout) -> None:
    """Write code/<stage>.txt for every stage whose result code decides."""
    unfinished = layout.code.with_name(f".{layout.code.name}.partial")
    for name in FINGERPRINTED:
        write_text(unfinished / f"{name}.txt", fingerprint(f"pipeline.stages.{name}") + "\n")
    replace_folder(unfinished, layout.code)
