"""Which labels the audit doubts: sentences, a sheet of the most doubtful images, and the estimated noise."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from pipeline.report import heatmap, style
from pipeline.report.data_plots import label_counts
from pipeline.report.results import Results

SHOWN, IN_ROW = 20, 10
PITCH = 1.5
"""From row to row of the sheet, in tiles: image, two lines of text."""


def sentences(results: Results) -> list[str]:
    """Return what the audit found, for the head of its section."""
    found, missing = results.audit, sum(results.audit.get("without_unseen_teacher", {}).values())
    if "estimated_rate" not in found:
        return [
            "No sample has a teacher that never saw it, so that no label could be judged. That takes a method with "
            "teachers on subsets, two teachers at least, and a subsets.overlap below 1."
        ]
    told = [
        f"Each label was judged by the teachers that did not train on its image, {found['votes']:.1f} on average. They "
        f"take {found['estimated_rate']:.1%} of the labels of training and validation to be wrong."
    ]
    if missing:
        told.append(
            f"{missing:,} samples have no such teacher and were left out; a lower subsets.overlap gives them one."
        )
    known = found.get("known")
    if known:
        at = ", ".join(f"{share:.0%} of the first {k}" for k, share in known["precision_at"].items())
        among = f": {at} are among them" if at else ""
        told.append(
            f"{known['random']:.1%} are known to be wrong, since noise was injected{among}. The average precision of "
            f"the order is {known['average_precision']:.3f}; at random it is {known['random']:.3f}."
        )
    return told


def rivals(results: Results) -> list[tuple[str, str]]:
    """Return average precisions on the training split: of the votes, and of what the plain student said itself."""
    titles = {
        "score": "Both together, the mean of two ranks: votes and AUM",
        "self_confidence": "Votes of teachers that never saw the sample",
        "aum": "Baseline I's mean margin while it trained (AUM)",
        "disagreed": "Share of its epochs in which Baseline I answered another label",
    }
    found = results.audit.get("known", {}).get("on_train", {})
    return [(titles[name], f"{value:.3f}") for name, value in found.items()]


def suspects(results: Results) -> pd.DataFrame:
    """Return the most doubtful samples, each once: the columns of suspects.csv."""
    return results.suspects.drop_duplicates("sample_id").head(SHOWN)


def sheet(results: Results) -> Figure | None:
    """The most doubtful images with their given and suggested labels; None without images or suspects."""
    images, chosen = results.images, suspects(results)
    if images is None or not len(chosen):
        return None
    place = {str(sample): row for row, sample in enumerate(results.samples["sample_id"])}
    changed = dict(zip(results.samples["sample_id"], results.samples["flipped"], strict=True))
    rows = -(-len(chosen) // IN_ROW)
    figure = style.new_figure(style.WIDTH / IN_ROW * PITCH * rows)
    figure.set_layout_engine("none")
    panel = figure.add_axes((0, 0, 1, 1))
    for number, suspect in enumerate(chosen.to_dict("records")):
        sample = str(suspect["sample_id"])
        top, column = PITCH * (number // IN_ROW), number % IN_ROW
        wrong = bool(changed.get(sample, 0))
        _tile(panel, images[place[sample]], str(suspect["given"]), str(suspect["suggested"]), column, top, wrong)
    panel.set_xlim(-0.02, IN_ROW)
    panel.set_ylim(PITCH * rows, 0)
    panel.axis("off")
    return figure


def _tile(panel: Axes, image: np.ndarray, given: str, suggested: str, column: int, top: float, wrong: bool) -> None:
    grey = image.shape[-1] == 1
    extent = (column, column + 0.94, top + 0.94, top)
    panel.imshow(
        image[..., 0] if grey else image, cmap="gray" if grey else None, vmin=0, vmax=255, extent=extent, aspect="auto"
    )
    if wrong:
        panel.add_patch(Rectangle((column, top), 0.94, 0.94, fill=False, edgecolor=style.CHANGED, linewidth=2.5))
    text = f"given {heatmap.short(given) or 'none'}\n→ {heatmap.short(suggested) or 'none'}"
    panel.text(column, top + 0.98, text, va="top", fontsize=7, color=style.INK, linespacing=1.05)


def matrix(results: Results) -> Figure | None:
    """Heat map of the estimated noise: how each class, as the votes have it, was given; None for several findings."""
    found = results.audit.get("estimated_counts")
    if found is None:
        return None
    return label_counts(np.array(found), results.classes, "estimated true label (n images)")
