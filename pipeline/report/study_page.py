"""The page of a study: its tables and pictures, self-contained."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from pipeline.common.files import write_text
from pipeline.report import style
from pipeline.report.page import embed
from pipeline.report.templates import environment

PAGE = "index.html"


@dataclass(frozen=True)
class Table:
    """A table as text; the first `text` columns are words, the others numbers."""

    caption: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    text: int = 1


@dataclass(frozen=True)
class Drawing:
    """A figure, what it shows for those who cannot see it, and the sentence below it."""

    figure: Figure
    alt: str
    caption: str


def write_page(
    folder: Path, name: str, title: str, lines: Sequence[str], tables: Sequence[Table], drawings: Mapping[str, Drawing]
) -> list[Path]:
    """Write index.html and figures/*.png into `folder` and return their paths; `lines` are below the title."""
    with mpl.rc_context(style.RC):
        embedded = embed({key: one.figure for key, one in drawings.items()}, folder / "figures")
    captions = {key: (one.alt, one.caption) for key, one in drawings.items()}
    text = environment().get_template("study.html.j2").render(
        name=name, title=title, lines=lines, tables=tables, figures=embedded, captions=captions
    )  # fmt: skip
    write_text(folder / PAGE, text)
    return [folder / PAGE, *(folder / "figures" / f"{key}.png" for key in drawings)]
