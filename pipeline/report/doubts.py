"""Which labels the audit doubts: sentences, a sheet of the most doubtful images, and the estimated noise."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from pipeline.report import style, tiles
from pipeline.report.data_plots import label_counts
from pipeline.report.results import Results

SHOWN, IN_ROW = 20, 10
ORDERS = {
    "score": ("Votes and AUM together (score)", "#D55E00", "-"),
    "self_confidence": ("Votes of teachers that never saw the image", "#0072B2", "-"),
    "aum": ("Baseline I's mean margin (AUM)", "#009E73", "--"),
    "disagreed": ("Epochs in which Baseline I disagreed", "#CC79A7", "--"),
    "loss": ("Baseline I's loss at the end", "#8C8C8C", "--"),
}
"""Of each order of doubt its name, colour and line."""
AT_RANDOM = "At random"


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
    found = results.audit.get("known", {}).get("on_train", {})
    return [(ORDERS[name][0] if name in ORDERS else AT_RANDOM, f"{value:.3f}") for name, value in found.items()]


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
    figure, panel = tiles.new_sheet(-(-len(chosen) // IN_ROW), IN_ROW)
    for number, suspect in enumerate(chosen.to_dict("records")):
        sample = str(suspect["sample_id"])
        corner = (number % IN_ROW, tiles.PITCH * (number // IN_ROW))
        frame = style.CHANGED if changed.get(sample, 0) else None
        lines = [f"{word} {suspect[column] or 'none'}" for word, column in (("given", "given"), ("→", "suggested"))]
        tiles.draw(panel, images[place[sample]], corner, lines, frame=frame)
    return figure


def matrix(results: Results) -> Figure | None:
    """Heat maps of how each class is given: as the votes estimate it, and beside it as noise was injected, if it was.

    None for several findings. Rows are shares of a class in percent, of training and validation images.
    """
    found = results.audit.get("estimated_counts")
    if found is None:
        return None
    panels = {"estimated true label (n images)": np.array(found)}
    if results.audit.get("known"):
        panels = {"published label (n images)": _injected(results)} | panels
    titles = ["Injected noise", "Estimated from the votes"][-len(panels) :]
    return label_counts(panels, results.classes, titles)


def _injected(results: Results) -> np.ndarray:
    """Images of training and validation by published and given class, int (C, C)."""
    audited = (results.samples["split"] != "test").to_numpy(dtype=bool)
    return results.published[audited].T.astype(int) @ results.given[audited].astype(int)


def curves(results: Results) -> Figure | None:
    """Precision and recall against the number of checked labels, for each order; None where no truth is known."""
    table = results.orders
    if table.empty:
        return None
    figure = style.new_figure(3.6)
    panels = figure.subplots(1, 2)
    names = list(dict.fromkeys(table["order"]))
    for panel, column in zip(panels, ("precision", "recall"), strict=True):
        for name in names:
            points = table.loc[table["order"] == name]
            width = 2.4 if name == "score" else 1.4
            label, colour, line = ORDERS[name]
            panel.plot(points["checked"], points[column], line, color=colour, linewidth=width, label=label)
        labels = table["checked"].max()
        share = float(table.loc[table["checked"] == labels, "precision"].iloc[0])
        at_random = ([1, labels], [share, share] if column == "precision" else [1 / labels, 1])
        panel.plot(*at_random, ":", color=style.INK, linewidth=1.2, label=AT_RANDOM)
        panel.set_ylim(0, 1.03)
        panel.set_xlim(1, labels)
        panel.set_xlabel("labels checked, the most doubtful first")
        panel.xaxis.set_major_formatter("{x:,.0f}")
        panel.grid()
    panels[0].set_ylabel("share of them that is wrong (precision)")
    panels[1].set_ylabel("share of all wrong labels found (recall)")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def classes(results: Results) -> list[tuple[str, list[str]]]:
    """Return, for each given class or each finding, how many labels are wrong, average precision, and at random."""
    found = results.audit.get("known", {}).get("per_class", {})
    return [
        (name, [f"{one['wrong']:,}", f"{one['average_precision']:.3f}", f"{one['random']:.3f}"])
        for name, one in found.items()
    ]
