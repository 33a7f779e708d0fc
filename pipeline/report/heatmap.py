"""One look for confusions, transitions and overlaps: shares of the row in percent, and the counts behind them."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from matplotlib.axes import Axes

from pipeline.report import style

WITH_COUNTS = 12
"""Up to so many columns the cells have room for their counts; above, they hold the bare percentage."""
LARGE = 9
"""Up to so many columns the cells have room for larger type."""
READABLE = 25
"""Above so many columns no cell is written in."""
NAMED = 50
"""Above so many rows or columns their names have no room."""
LONGEST = 24
"""`short` cuts names to so many characters."""


def draw(
    panel: Axes,
    counts: np.ndarray,
    totals: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    aspect: Literal["equal", "auto"] = "equal",
) -> None:
    """Draw counts (R, C) as shares of `totals` (R,) with the names along the axes; a count of 0 stays blank.

    Long names of columns are cut; `rows` are written as they come.
    """
    size = 8 if len(columns) <= LARGE else 7
    shares = counts / np.maximum(totals, 1)[:, None]
    panel.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect=aspect)
    for row, column in np.ndindex(*counts.shape):
        if counts[row, column] and len(columns) <= READABLE:
            colour = "white" if shares[row, column] > 0.55 else style.INK
            text = _cell(float(shares[row, column]), int(counts[row, column]), len(columns))
            panel.text(column, row, text, ha="center", va="center", fontsize=size, color=colour)
    names = [short(name) for name in columns] if len(columns) <= NAMED else []
    panel.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
    panel.set_yticks(range(len(rows)) if len(rows) <= NAMED else [], rows if len(rows) <= NAMED else [])
    panel.tick_params(length=0)
    panel.spines[:].set_visible(False)


def short(name: str) -> str:
    """Return a name no longer than LONGEST characters."""
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"


def _cell(share: float, count: int, columns: int) -> str:
    percent = "< 1" if 0 < share < 0.005 else f"{100 * share:.0f}"
    return f"{percent} %\n({count:,})" if columns <= WITH_COUNTS else percent
