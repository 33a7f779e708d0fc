"""A second test set from another source: a table as `data.table` describes one, its classes matched by name."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pipeline.common.errors import UserError
from pipeline.common.labels import SEPARATOR
from pipeline.data.sources.base import ImageFiles, Source
from pipeline.data.sources.table import column_names, open_table, read_columns
from pipeline.data.sources.table_labels import is_missing
from pipeline.params.data import TableParams
from pipeline.params.tree import Params


@dataclass(frozen=True)
class Matched:
    """The classes of both sets by name: `shared` and `missing` in the order of our own, `surplus` sorted."""

    shared: tuple[str, ...]
    missing: tuple[str, ...]
    surplus: tuple[str, ...]


def open_external(params: Params, classes: Sequence[str], channels: int) -> tuple[Source, Matched]:
    """Open the table `robustness.external`, its image paths relative to it; reads no image.

    `classes`, `channels`: of our own data; images are decoded and resized as these were. The source's labels may name
    surplus classes, too. Raises UserError that names the parameter, the file and the row.
    """
    path = Path(params.robustness.external or "")
    columns = params.data.table
    if not path.is_file():
        raise UserError(
            f"robustness.external is {str(path)!r}: no such file; name a CSV or Parquet table with the columns of "
            f"data.table ({', '.join(_named(columns))}), or set it to null"
        )
    try:
        columns = _of_this_table(columns, path, classes)
        table = {"source": "table", "path": str(path.parent), "table": columns}
        source = open_table(params.task, params.data.model_copy(update=table))
    except UserError as error:
        raise UserError(f"robustness.external: {error}. Its columns are named by data.table in params.yaml") from error
    matched = match(classes, met(source))
    if not matched.shared:
        raise UserError(_nothing_shared(path, classes, matched))
    reader = source.open_images(Path())
    assert isinstance(reader, ImageFiles)
    ours = replace(reader, channels=channels)
    return replace(source, channels=channels, open_images=lambda scratch: ours), matched


def met(source: Source) -> tuple[str, ...]:
    """Return the classes that some label of a source names."""
    named = {name for label in source.samples["label"] for name in label.split(SEPARATOR) if name}
    return tuple(name for name in source.classes if name in named)


def match(classes: Sequence[str], others: Sequence[str]) -> Matched:
    """Match class names, which must be equal to the letter."""
    return Matched(
        shared=tuple(name for name in classes if name in others),
        missing=tuple(name for name in classes if name not in others),
        surplus=tuple(sorted(set(others) - set(classes))),
    )


def lookalikes(matched: Matched) -> list[tuple[str, str]]:
    """Return pairs of a surplus and a missing class that differ in case, spaces or hyphens alone."""
    key = {name: "".join(filter(str.isalnum, name.casefold())) for name in (*matched.surplus, *matched.missing)}
    return [(other, own) for other in matched.surplus for own in matched.missing if key[other] == key[own]]


def equal_images(images: np.ndarray, others: np.ndarray) -> list[tuple[int, int]]:
    """Return (place in `images`, place in `others`) of images with the same pixels, uint8 (N, S, S, channels) each.

    Of several equal ones in `others` the first is named.
    """
    known: dict[bytes, int] = {}
    for place, image in enumerate(others):
        known.setdefault(hashlib.sha256(image.tobytes()).digest(), place)
    found = ((place, known.get(hashlib.sha256(image.tobytes()).digest())) for place, image in enumerate(images))
    return [(place, other) for place, other in found if other is not None]


def _named(columns: TableParams) -> list[str]:
    labels = [columns.label] if isinstance(columns.label, str) else list(columns.label)
    return [columns.image, *labels, *([columns.group] if columns.group else [])]


def _of_this_table(columns: TableParams, path: Path, classes: Sequence[str]) -> TableParams:
    """Return the columns to read: of several 0/1 columns those that are there; one label may name surplus classes."""
    own = columns.model_copy(update={"file": path.name, "split": None, "classes": None})
    if isinstance(columns.label, str):
        cells = read_columns(path, [columns.label])[columns.label]
        separator = columns.separator
        parts = {part.strip() for cell in cells for part in (cell.split(separator) if separator else [cell])}
        surplus = sorted(name for name in parts - set(classes) if not is_missing(name))
        return own.model_copy(update={"classes": (*classes, *surplus)})
    there = set(column_names(path))
    labels = tuple(name for name in columns.label if name in there)
    if len(labels) < 2:
        raise UserError(
            f"{path}: has {len(labels)} of the columns {', '.join(columns.label)}; at least 2 are needed, so add one "
            "of zeros for a finding that nobody looked for"
        )
    return own.model_copy(update={"label": labels})


def _nothing_shared(path: Path, classes: Sequence[str], matched: Matched) -> str:
    alike = "".join(f"; {other!r} may be {own!r}" for other, own in lookalikes(matched))
    return (
        f"robustness.external: {path}: no class of its labels is one of ours. It has {', '.join(matched.surplus)}; "
        f"ours are {', '.join(classes)}{alike}. Names must be equal to the letter: rename them in that table"
    )
