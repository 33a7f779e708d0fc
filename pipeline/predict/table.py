"""The table of predictions: written row by row beside its name, and renamed when it is whole; a kill costs a batch.

A row is one line. What is left of a killed run is taken up where its rows are those of the same images and model.
"""

import csv
import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.common.errors import UserError
from pipeline.common.files import full_disk_named, locked

IMAGE, ERROR, MODEL = "image", "error", "model"
EXAMPLES = 5
"""Unreadable images that the summary names."""


@dataclass
class Counts:
    """Rows written, those of images that could not be read, and the first of these with their reasons."""

    rows: int = 0
    unreadable: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, row: Sequence[str], error: str) -> None:
        """Count a row."""
        self.rows += 1
        if error:
            self.unreadable += 1
            if len(self.examples) < EXAMPLES:
                self.examples.append(f"{row[0]}: {error}")


class Table:
    """A CSV with the columns `image, …, error, model`, which `model` alone may continue or replace."""

    def __init__(self, path: Path, columns: Sequence[str], model: str) -> None:
        """Raises UserError where `path` is a folder or another table, OSError where it cannot be read."""
        self.path, self.model = path, model
        self.columns = [IMAGE, *map(plain, columns), ERROR, MODEL]
        self.unfinished = path.with_name(f"{path.name}.unfinished")
        if path.is_dir():
            raise UserError(f"{path}: is a folder; name the file that the table goes to with --out")
        if path.exists():
            with path.open("rb") as stream:
                rows = _rows(stream)
                self._require_own(path, next(rows, ([], 0))[0], next(rows, ([], 0))[0])

    @contextmanager
    def writing(self, images: Sequence[str]) -> "Iterator[Writer]":
        """Yield the writer of this table for these images; the file takes its name when the block ends without error.

        The rows of an earlier run are kept as far as they are of the first of these images. Raises UserError where
        another model began the file, or another process writes it; OSError where it cannot be written.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with locked(self.unfinished, wait=False) as held:
            if not held:
                raise UserError(f"{self.unfinished}: another process writes it; wait for it, or name another --out")
            counts, size = self._kept(images)
            with full_disk_named(self.unfinished), self.unfinished.open("r+b") as stream:
                stream.truncate(size)
                stream.seek(size)
                writer = Writer(self, stream, counts)
                if not size:
                    writer.line(self.columns)
                yield writer
                stream.flush()
                os.fsync(stream.fileno())
            self.unfinished.replace(self.path)

    def _kept(self, images: Sequence[str]) -> tuple[Counts, int]:
        """Count the rows of an earlier run that belong to the first images, and return where the last of them ends."""
        counts, size = Counts(), 0
        with self.unfinished.open("rb") as stream:
            for number, (row, end) in enumerate(_rows(stream)):
                self._require_own(self.unfinished, row if number == 0 else self.columns, row if number else [])
                if number and (counts.rows == len(images) or row[0] != plain(images[counts.rows])):
                    break
                if number:
                    counts.add(row, row[-2])
                size = end
        return counts, size

    def _require_own(self, path: Path, header: list[str], row: list[str]) -> None:
        """Raise UserError unless a file's header is this table's, and a row, where there is one, this model's."""
        if header != self.columns:
            raise UserError(
                f"{path}: has other columns, {', '.join(header)[:200] or 'none'}, than this model's table, "
                f"{', '.join(self.columns)[:200]}. Name another --out, or delete it"
            )
        if row and row[-1] != self.model:
            raise UserError(
                f"{path}: is of model {row[-1][:200]}, not of {self.model}. Name another --out, delete it, or choose "
                "that model with --model"
            )


@dataclass
class Writer:
    """Appends rows; `counts` includes those kept from an earlier run."""

    table: Table
    stream: io.BufferedRandom
    counts: Counts

    def rows(self, found: Sequence[tuple[str, Sequence[str], str]]) -> None:
        """Write a batch: image, values (empty texts where it could not be read) and the reason ("" where it could)."""
        for image, values, error in found:
            row = [plain(image), *values, plain(error), self.table.model]
            self.line(row)
            self.counts.add(row, row[-2])
        self.stream.flush()

    def line(self, row: Sequence[str]) -> None:
        """Write one line."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow(row)
        self.stream.write(text.getvalue().encode())


def plain(text: str) -> str:
    """Return text as one line of valid Unicode: line breaks, other controls and odd bytes of names as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _rows(stream: io.BufferedIOBase) -> Iterator[tuple[list[str], int]]:
    """The whole lines of a file as rows, each with the place where it ends; what is torn is not among them."""
    end = 0
    for line in stream:
        if not line.endswith(b"\n"):
            return
        end += len(line)
        try:
            yield next(csv.reader([line.decode(errors="replace")])), end
        except csv.Error:  # no table of ours
            yield [""], end
