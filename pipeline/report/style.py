"""One look for all figures: a colour for every method and teacher, type sizes, and rendering to PNG."""

import io
from typing import Any

from matplotlib.figure import Figure

from pipeline.distillation.methods import RIVALS

METHOD_COLOURS = {
    "baseline_1": "#8C8C8C",
    "baseline_2": "#56B4E9",
    "baseline_3": "#0072B2",
    "baseline_3_same": "#009E73",
    "baseline_4": "#CC79A7",
    "baseline_5": "#E69F00",
    "roskd_unseen": "#7A5C00",
    "stochastic_full": "#5E4FA2",
    "roskd": "#D55E00",
    "roskd_cross": "#762A83",
    "baseline_1_published": "#3B3B3B",
    "early_stopped": "#BDBDBD",
    "label_smoothing": "#A6761D",
    "gce": "#E7298A",
    "sce": "#66A61E",
    "elr": "#1B4F72",
    "co_teaching": "#800026",
    "linear_probe": "#4D9221",
    "knn": "#8073AC",
}
"""Okabe and Ito's palette, which colour-blind readers can distinguish, with grey and brown added."""

METHOD_LINES = {"baseline_3_same": "--", "roskd_unseen": "--", "roskd_cross": "--"} | dict.fromkeys(RIVALS, ":")
"""The side methods are dashed, rivals dotted, so that no pair of lines rests on colour alone."""

TEACHER_COLOURS = ("#332288", "#44AA99", "#999933", "#882255", "#DDCC77", "#117733", "#AA4499")
"""Paul Tol's muted palette, apart from the methods' colours."""

PARTITION_LINES = ("-", "--", ":", "-.")
"""Teachers of one architecture have its colour; the line is the partition's."""

CHANGED = "#B2182B"
CORRECTED = "#2166AC"
PLAIN = "#6B8CAE"  # bars of no method
INK = "#1F2933"
FAINT = "#9AA5B1"
WIDTH = 11.0  # inches; the page shows a figure at 1100 px, so a point is 1.4 px
RESOLUTION = 180  # pixels per inch

RC: dict[Any, Any] = {
    "font.size": 9,
    "text.parse_math": False,  # a class may be called $x$
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": False,
    "grid.color": "#E4E7EB",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "figure.constrained_layout.use": True,
}


def new_figure(height: float, width: float = WIDTH) -> Figure:
    """Return an empty figure in the house look, `width` x `height` inches; inside `rc_context(RC)`."""
    return Figure(figsize=(width, height))


def png(figure: Figure) -> bytes:
    """Render a figure; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=RESOLUTION, metadata={"Software": None})
    return buffer.getvalue()
