"""Plots of what went in: group sizes, the noise, how the teachers' subsets overlap, and a sheet of images."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from pipeline.report import heatmap, style, tiles
from pipeline.report.findings import groups_word
from pipeline.report.results import IN_SHEET, Results

PER_CLASS = 8
GROUP_BINS = ((1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (6, 10), (11, 20), (21, 50), (51, 100), (101, None))
"""First and last number of images of a group in each bar; the last bar is open."""


def group_counts(results: Results) -> np.ndarray:
    """Return the number of images of each group, int (G,)."""
    return results.samples["group_id"].value_counts().to_numpy()


def group_bars(counts: np.ndarray) -> dict[str, int]:
    """Return {images of a group: groups}, in the bins up to the largest group."""
    bars = {}
    for first, last in GROUP_BINS:
        if first <= counts.max():
            name = f"over {first - 1}" if last is None else str(first) if first == last else f"{first} to {last}"
            bars[name] = int(np.count_nonzero((counts >= first) & (counts <= (last or np.inf))))
    return bars


def group_sizes(results: Results) -> Figure | None:
    """Bars of how many groups have how many images; None where every group has one."""
    counts, word = group_counts(results), groups_word(results.params)
    if counts.max() == 1:
        return None
    bars = group_bars(counts)
    figure = style.new_figure(2.4, max(3.4, 0.75 * len(bars) + 0.8))
    panel = figure.subplots()
    drawn = panel.bar(list(bars), list(bars.values()), color=style.PLAIN, width=0.7)
    panel.bar_label(drawn, [f"{count:,}" for count in bars.values()], padding=2)
    panel.margins(y=0.15)
    panel.set_xlabel(f"images of one {groups_word(results.params, one=True)}")
    panel.set_ylabel(word)
    panel.yaxis.set_major_formatter("{x:,.0f}")
    panel.tick_params(axis="x", length=0)
    return figure


def transition(results: Results) -> Figure | None:
    """Heat map of the labels that noise gave to each published class; None without noise or for several findings."""
    if results.noise["kind"] == "none" or "transition" not in results.noise:
        return None
    counts = {"published label (n images)": np.array(results.noise["transition"])}
    return label_counts(counts, results.noise["classes"])


def label_counts(
    panels: Mapping[str, np.ndarray], classes: Sequence[str], titles: Sequence[str] | None = None
) -> Figure:
    """Heat maps of counts (C, C) by what their rows are: as what, by column, images of each row's class are given."""
    wide = min(0.62 * len(classes) + 2.0, style.WIDTH / len(panels))
    figure = style.new_figure(min(0.55 * len(classes) + 1.4, 9.4), wide * len(panels))
    for number, (rows_title, counts) in enumerate(panels.items()):
        panel = figure.add_subplot(1, len(panels), number + 1)
        totals = counts.sum(axis=1)
        rows = [f"{heatmap.short(name)} (n = {total:,})" for name, total in zip(classes, totals, strict=True)]
        heatmap.draw(panel, counts, totals, rows, classes, "auto")
        panel.set_xlabel("given label")
        panel.set_ylabel(rows_title)
        if titles is not None:
            panel.set_title(titles[number])
    return figure


def shared_counts(results: Results) -> np.ndarray:
    """Return int (K, K): the training images common to two teachers; the size of a teacher's subset on the diagonal.

    The teachers are in the order of the columns of subsets.csv; (0, 0) without subsets.
    """
    members = results.members.drop(columns="sample_id").astype(int).to_numpy()
    return members.T @ members


def overlap(results: Results) -> Figure | None:
    """Heat map of `shared_counts` as shares of the row's subset; None without subsets."""
    counts, names = shared_counts(results), [c for c in results.members.columns if c != "sample_id"]
    if not len(counts) or not len(results.members):
        return None
    figure = style.new_figure(0.5 * len(names) + 1.6, 0.95 * len(names) + 3.2)
    panel = figure.subplots()
    sizes = counts.diagonal()
    rows = [f"{name} ({size:,})" for name, size in zip(names, sizes, strict=True)]
    heatmap.draw(panel, counts, sizes, rows, names, "auto")
    panel.set_xlabel("… the share that this teacher sees, too")
    panel.set_ylabel("of this teacher's images …")
    return figure


def sheet_rows(shown: np.ndarray, changed: np.ndarray, count: int = PER_CLASS) -> list[int]:
    """Return rows to show of those that are `shown`, bool (N,): evenly spread, half of them with a `changed` label.

    Where fewer are changed, unchanged ones fill up, and the other way round; changed ones come last.
    """
    kept, altered = np.flatnonzero(shown & ~changed), np.flatnonzero(shown & changed)
    n_altered = min(len(altered), max(count // 2, count - len(kept)))
    return [*_spread(kept, count - n_altered), *_spread(altered, n_altered)]


def _spread(rows: np.ndarray, count: int) -> list[int]:
    count = min(count, len(rows))
    return [int(row) for row in rows[np.linspace(0, len(rows) - 1, count).astype(int)]] if count else []


def sheet(results: Results) -> dict[str, list[int]]:
    """Return the contact sheet's training images of each of the most frequent published classes, and of none."""
    samples = results.samples
    train = (samples["split"] == "train").to_numpy(dtype=bool)
    changed = (samples["given"] != samples["published"]).to_numpy(dtype=bool)
    flags = results.published
    shown = results.frequent(IN_SHEET)
    found = {results.classes[c]: sheet_rows(train & flags[:, c], changed) for c in shown}
    if results.params.task == "multilabel":
        found["no finding"] = sheet_rows(train & ~flags.any(axis=1), changed)
    return found


def label_change(given: str, published: str) -> list[str]:
    """Return what became of a published label, in lines: nothing, `given NV`, or `+ Mass`, `− Effusion`."""
    old, new = ([name for name in cell.split("|") if name] for cell in (published, given))
    if old == new:
        return []
    if len(old) == len(new) == 1:
        return [f"given {new[0]}"]
    lines = [f"+ {name}" for name in new if name not in old] + [f"− {name}" for name in old if name not in new]
    return lines if len(lines) <= 2 else [lines[0], f"and {len(lines) - 1} more"]


def contact_sheet(results: Results) -> Figure | None:
    """Training images of every published class; changed labels are framed and written below. None without images."""
    images = results.images
    if images is None:
        return None
    shown = sheet(results)
    figure, panel = tiles.new_sheet(len(shown), PER_CLASS)
    for row, (name, rows) in enumerate(shown.items()):
        top = tiles.PITCH * row + 0.24
        title = heatmap.short(name)
        panel.text(0, top - 0.06, title if rows else f"{title}: no training image", fontweight="bold")
        for column, index in enumerate(rows):
            sample = results.samples.iloc[index]
            lines = label_change(str(sample["given"]), str(sample["published"]))
            colour = style.CHANGED if sample["flipped"] else style.CORRECTED
            frame = colour if lines else None
            tiles.draw(panel, images[index], (column, top), lines, frame=frame, ink=colour, size=7.5)
    return figure
