"""What a request for predictions may hold, in the forms of MLflow's protocol, and the one form that is handed on."""

import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

FORMATS = ("instances", "inputs", "dataframe_records", "dataframe_split")
"""The keys of MLflow's protocol, one of which holds the images."""
COLUMN, SHAPE = "image", "shape"
EXAMPLE = 'such as {"instances": [{"image": "<base64 of an image file>"}]}'


@dataclass(frozen=True)
class Limits:
    """What a server takes on.

    `body`: bytes of one request; `waiting`: bytes of all requests that are here; `images`: of one request; `seconds`
    for a request to arrive; `at_once`: requests that are decoded and computed at the same time.
    """

    body: int = 64 << 20
    waiting: int = 256 << 20
    images: int = 256
    seconds: float = 30
    at_once: int = 2

    @property
    def values(self) -> int:
        """Commas and brackets in a request's JSON: base64 has none, and a request needs fewer than ten an image."""
        return 10 * self.images + 100


class RefusedError(Exception):
    """A request that is answered with `status` and `message`, and never reaches the app."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


def rewritten(body: bytes, limits: Limits) -> bytes:
    """Return a request in the one form that is handed on; raises RefusedError unless it holds 1 to `limits.images`."""
    rows = rows_of(_parsed(body, limits))
    images, shapes = [row[COLUMN] for row in rows], [row.get(SHAPE) for row in rows]
    if len(images) > limits.images:
        raise RefusedError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"{len(images)} images in one request; at most {limits.images} are allowed",
        )
    if not images:
        raise _bad("the request has no rows; each holds one base64-encoded image file")
    for number, image in enumerate(images, 1):
        if not isinstance(image, str):
            found = "nothing" if image is None else f"a value of type {type(image).__name__}"
            raise _bad(f"image {number} of {len(images)}: {found}, where base64 text of an image file is expected")
    for number, shape in enumerate(shapes, 1):
        if shape is not None and not (isinstance(shape, list) and all(type(side) is int for side in shape)):
            raise _bad(f"image {number} of {len(images)}: its shape is not [height, width, channels] in whole numbers")
    columns = [images] if all(shape is None for shape in shapes) else [images, shapes]
    data = [list(row) for row in zip(*columns, strict=True)]
    return json.dumps({"dataframe_split": {"columns": [COLUMN, SHAPE][: len(columns)], "data": data}}).encode()


def rows_of(content: Any) -> list[dict[str, Any]]:
    """Return the rows of a request of MLflow's protocol, each with its `image`; raises RefusedError for any other."""
    given = [name for name in FORMATS if isinstance(content, dict) and name in content]
    if len(given) != 1:
        raise _bad(f"the JSON needs exactly one of instances, inputs, dataframe_records and dataframe_split, {EXAMPLE}")
    rows = content[given[0]]
    if given[0] == "dataframe_split":
        rows = _of_split(rows)
    elif isinstance(rows, dict) and isinstance(rows.get(COLUMN), list):  # columns by name
        rows = _of_columns(rows)
    if not isinstance(rows, list):
        raise _bad(f"{given[0]} needs a list, {EXAMPLE}")
    missing = next((n for n, row in enumerate(rows, 1) if not (isinstance(row, dict) and COLUMN in row)), None)
    if missing is not None:
        raise _bad(f"image {missing} of {len(rows)}: needs the key `{COLUMN}`, {EXAMPLE}")
    return rows


def _of_columns(columns: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of `{"image": […], "shape": […]}`; other columns are left aside."""
    images, shapes = columns[COLUMN], columns.get(SHAPE)
    if shapes is None:
        return [{COLUMN: image} for image in images]
    if not isinstance(shapes, list) or len(shapes) != len(images):
        raise _bad(f"{SHAPE} needs a list with a shape, or null, for each of the {len(images)} images")
    return [{COLUMN: image, SHAPE: shape} for image, shape in zip(images, shapes, strict=True)]


def _of_split(split: Any) -> list[Any] | None:
    """The rows of `{"columns": […], "data": [[…], …]}` as records; None where it is something else."""
    columns, data = (split.get("columns"), split.get("data")) if isinstance(split, dict) else (None, None)
    if not isinstance(columns, list) or not isinstance(data, list) or columns.count(COLUMN) != 1:
        return None
    known = [(name, columns.index(name)) for name in (COLUMN, SHAPE) if columns.count(name) == 1]
    return [
        {name: row[place] for name, place in known} if isinstance(row, list) and len(row) == len(columns) else None
        for row in data
    ]


def _parsed(body: bytes, limits: Limits) -> Any:
    if sum(map(body.count, (b",", b"[", b"{"))) > limits.values:  # before Python makes objects of them
        raise _bad(f"the JSON has more values than {limits.images} images need")
    try:
        return json.loads(body)
    except RecursionError:
        raise _bad("the JSON is nested too deeply") from None
    except ValueError as error:
        reason = str(error) if isinstance(error, json.JSONDecodeError) else "text or a number that cannot be read"
        raise _bad(f"the request is not valid JSON: {reason}") from None


def _bad(message: str) -> RefusedError:
    return RefusedError(HTTPStatus.BAD_REQUEST, message)
