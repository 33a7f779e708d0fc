"""Training curves: long tables of epoch, split, metric, value."""

from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from pipeline.common.errors import UserError
from pipeline.common.files import write_text
from pipeline.common.tables import read_csv

COLUMNS = "epoch,split,metric,value"


@dataclass
class History:
    """The rows of history.csv, epochs counted from 1."""

    rows: list[tuple[int, str, str, float]] = field(default_factory=list)

    def add(self, epoch: int, split: str, metrics: dict[str, float]) -> None:
        """Append the metrics of one split."""
        self.rows += [(epoch, split, name, float(value)) for name, value in metrics.items()]

    def of_epoch(self, epoch: int) -> dict[str, float]:
        """Return {"split/metric": value} of one epoch."""
        return {f"{split}/{metric}": value for number, split, metric, value in self.rows if number == epoch}

    def write(self, path: Path) -> None:
        """Write the CSV; numbers in full precision, undefined ones blank."""
        lines = [f"{e},{split},{metric},{'' if v != v else repr(v)}" for e, split, metric, v in self.rows]
        write_text(path, "\n".join([COLUMNS, *lines]) + "\n")


def read_history(path: Path) -> pd.DataFrame:
    """Return a history.csv with the columns epoch (int), split, metric and value (NaN where undefined).

    Raises UserError where the file is missing or is no history.
    """
    table = read_csv(path, COLUMNS.split(","))
    try:
        return table.assign(epoch=table["epoch"].astype(int), value=pd.to_numeric(table["value"]))
    except ValueError as error:
        raise UserError(f"{path}: is no history of a training ({error}); run make repro to write it again") from error


def by_epoch(history: pd.DataFrame) -> list[dict[str, float]]:
    """Return `{"split/metric": value}` of each epoch, in order."""
    keys = history["split"] + "/" + history["metric"]
    rows = history.assign(key=keys).groupby("epoch")
    return [dict(zip(found["key"], found["value"], strict=True)) for _, found in rows]
