"""The report: table.txt, the figures as PNGs, and two self-contained pages, the report and the data card."""

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from pipeline.common.files import atomic, write_text
from pipeline.common.layout import Layout
from pipeline.distillation.methods import METHODS, PLAIN, SUBJECT
from pipeline.params.tree import Params
from pipeline.report import (
    corrected,
    data_card,
    data_plots,
    doubts,
    findings,
    heatmap,
    landscape,
    landscape_plots,
    plots,
    robustness,
    robustness_plots,
    shift,
    shift_plots,
    style,
    tables,
    training,
)
from pipeline.report.results import Results, load
from pipeline.report.templates import environment
from pipeline.report.terminal import terminal_table

FIGURES: dict[str, Callable[[Results], Figure | None]] = {
    "bars": plots.bars,
    "differences": plots.differences,
    "class_auroc": plots.class_auroc,
    "confusion": lambda results: plots.confusion(results, (PLAIN, SUBJECT)),
    "student_curves": plots.student_curves,
    "teacher_curves": plots.teacher_curves,
    "robustness": robustness_plots.curves,
    "group_sizes": data_plots.group_sizes,
    "transition": data_plots.transition,
    "overlap": data_plots.overlap,
    "contact_sheet": data_plots.contact_sheet,
    "suspects": doubts.sheet,
    "estimated_noise": doubts.matrix,
    "orders": doubts.curves,
    "corruption_bars": shift_plots.corruption_bars,
    "corruption_examples": shift_plots.corruption_examples,
}
"""Every figure by the name of its PNG; None where the run holds nothing to draw."""


@dataclass(frozen=True)
class Embedded:
    """A figure as a data URI, and its width on the page in CSS pixels."""

    source: str
    width: int


def build(params: Params, layout: Layout) -> None:
    """Write report/index.html, report/data_card.html, report/table.txt and report/figures/*.png.

    Raises UserError where the metrics, the data report, the splits, the labels or the
    noise report are missing; whatever else is missing is left out of the pages.
    """
    results = load(params, layout)
    with mpl.rc_context(style.RC):
        drawn = {name: figure for name, draw in FIGURES.items() if (figure := draw(results)) is not None}
        drawn |= landscape_plots.figures(results)
        embedded = embed(drawn, layout.figures)
    write_text(layout.table, terminal_table(results))
    pages = {layout.report: "page.html.j2", layout.data_card: "data_card.html.j2"}
    for path, template in pages.items():
        write_text(path, render(results, embedded, template))


def embed(figures: Mapping[str, Figure], folder: Path) -> dict[str, Embedded]:
    """Write each figure as a PNG into `folder`, remove other PNGs there, and return them for a page."""
    for stale in folder.glob("*.png"):
        stale.unlink()
    embedded = {}
    for name, figure in figures.items():
        content = style.png(figure)
        with atomic(folder / f"{name}.png") as temporary:
            temporary.write_bytes(content)
        source = "data:image/png;base64," + base64.b64encode(content).decode("ascii")
        embedded[name] = Embedded(source, round(100 * figure.get_figwidth()))
    return embedded


def render(results: Results, embedded: dict[str, Embedded], template: str) -> str:
    """Return a page as HTML."""
    return (
        environment()
        .get_template(template)
        .render(
            results=results,
            params=results.params,
            figures=embedded,
            findings=findings,
            tables=tables,
            training=training,
            doubts=doubts,
            corrected=corrected,
            card=data_card,
            heatmap=heatmap,
            landscape=landscape,
            robustness=robustness,
            methods=METHODS,
            shift=shift,
        )
    )
