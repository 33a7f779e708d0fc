"""One's own images and a table: a CSV or Parquet file that names each image, its label, its patient, its split."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from models.names import Task
from pipeline.common.errors import UserError
from pipeline.common.tables import read_csv, read_table
from pipeline.data.sources.base import ImageFiles, Source, require_folder
from pipeline.data.sources.image_paths import colour_channels, leaves, resolve
from pipeline.data.sources.table_labels import is_missing, read_labels
from pipeline.params.data import DataParams, TableParams

SPLITS = ("train", "val", "test")


def open_table(task: Task, params: DataParams) -> Source:
    """Open the table `params.table.file` in the folder `params.path`.

    sample_id is the image's path as the table has it; without a group column each image is its own group.
    Cells of labels, groups and splits are read without the spaces around them. For 0/1 columns, classes are in the
    order of the columns, otherwise in that of `params.table.classes`, or sorted. Raises UserError.
    """
    root, columns = Path(params.path), params.table
    require_folder(root, f"the images and the table {columns.file} (data.table.file)")
    path = _table_path(root, columns.file)
    table = read_columns(path, _wanted(columns))
    files = resolve(table[columns.image], root, path, columns.image)
    labels, classes = read_labels(table, columns, task, path)
    samples = pd.DataFrame({"sample_id": table[columns.image], "group_id": table[columns.image], "label": labels})
    if columns.group is not None:
        samples["group_id"] = _groups(table[columns.group], path, columns.group)
    if columns.split is not None:
        samples["source_split"] = _splits(table[columns.split], path, columns.split)
    images = ImageFiles(files, params.image_size, params.resize, colour_channels(files))
    return Source(samples, classes, images.channels, lambda scratch: images, (path,))


def _table_path(root: Path, file: str) -> Path:
    if leaves(file):
        raise UserError(
            f"data.table.file is {file!r}, which is outside data.path {str(root)!r}; name a file inside that folder, "
            "since data.path is what is watched for changes"
        )
    path = root / file
    if not path.is_file():
        raise UserError(f"{path}: no such file; data.table.file in params.yaml names the table inside data.path")
    return path


def _wanted(columns: TableParams) -> list[str]:
    """The columns that are read, each once."""
    labels = [columns.label] if isinstance(columns.label, str) else columns.label
    names = [columns.image, *labels, columns.group, columns.split]
    return list(dict.fromkeys(name for name in names if name is not None))


def read_columns(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Return those columns of a CSV or Parquet file as text, a missing cell as the empty string, rows numbered from 0.

    Raises UserError where the file cannot be read, is empty or lacks a column.
    """
    match path.suffix.lower():
        case ".csv":
            table = read_table(path, columns)
        case ".parquet":
            table = _read_parquet(path, columns)
        case other:
            raise UserError(f"{path}: is a {other or 'file without ending'}; data.table.file is a .csv or a .parquet")
    return table[list(columns)].fillna("")


def column_names(path: Path) -> list[str]:
    """Return the names of a table's columns. Raises UserError where the file cannot be read."""
    if path.suffix.lower() == ".parquet":
        try:
            return pq.read_schema(path).names
        except (OSError, pa.ArrowException) as error:
            raise UserError(f"{path}: cannot be read as Parquet: {error}") from error
    return list(read_csv(path).columns)


def _read_parquet(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    try:
        file = pq.ParquetFile(path)
        names = file.schema_arrow.names
        missing = [name for name in columns if name not in names]
        if missing:
            raise UserError(f"{path}: no column {', '.join(missing)}; it has {', '.join(names)}")
        table = file.read(columns=list(columns))
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path}: cannot be read as Parquet: {error}") from error
    if table.num_rows == 0:
        raise UserError(f"{path}: the table has no rows")
    for name in columns:
        kind = table.schema.field(name).type
        if pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
            raise UserError(f"{path}: column {name} holds {kind}; text and numbers can be read, one value per cell")
    return pd.DataFrame({name: [_text(value) for value in table[name].to_pylist()] for name in columns}, dtype=str)


def _text(value: object) -> str:
    """A cell as one would type it: no value is the empty string, 1.0 is "1"."""
    if value is None or value != value:
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _groups(cells: pd.Series, path: Path, column: str) -> list[str]:
    for row, cell in enumerate(cells, 1):
        if is_missing(cell):
            raise UserError(
                f"{path}: data row {row}, column {column}: {cell!r} names no group; every image needs its patient or "
                "lesion. Give each image without one a unique name, or set data.table.group: null"
            )
    return [cell.strip() for cell in cells]


def _splits(cells: pd.Series, path: Path, column: str) -> list[str]:
    splits = [cell.strip() for cell in cells]
    for row, split in enumerate(splits, 1):
        if split not in SPLITS:
            raise UserError(f"{path}: data row {row}, column {column}: {split!r} is none of {', '.join(SPLITS)}")
    return splits
