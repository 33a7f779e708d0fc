"""What an ONNX file says of its network: how to feed it, what its answers mean, and what it was made from."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from models.errors import ModelError
from models.images import Resize
from models.names import Task

KEY = "roskd"
"""The key of the ONNX file's metadata whose value is the JSON of `Metadata`."""
AGAIN = "export the student again (make repro)"


@dataclass(frozen=True)
class Metadata:
    """The facts beside a network's weights.

    `thresholds`: the probability from which each finding is called, multilabel only, 0.5 where there are none.
    `data_hash`: of the prepared images and their published labels; `labels_hash`: of the splits and the labels trained
    on; `params_hash`: of the parameters that decide the student.
    """

    task: Task
    classes: tuple[str, ...]
    image_size: int
    channels: int
    resize: Resize
    thresholds: tuple[float, ...] | None = None
    precision: Literal["float32", "float16"] = "float32"
    data_source: str = ""
    method: str = ""
    seed: int = 0
    data_hash: str = ""
    labels_hash: str = ""
    params_hash: str = ""

    def properties(self) -> dict[str, str]:
        """Return the metadata as an ONNX file keeps them: {key: text}."""
        return {KEY: json.dumps(asdict(self), sort_keys=True)}


def read_metadata(properties: Mapping[str, str], origin: str) -> Metadata:
    """Return the metadata of a file's properties; `origin` names the file.

    Raises ModelError where they are missing, cannot be read, or describe something else than a classifier of images.
    """
    if KEY not in properties:
        raise ModelError(f"{origin}: has no metadata {KEY!r}, so nothing says what its answers mean; {AGAIN}")
    try:
        found = json.loads(properties[KEY])
    except ValueError as error:
        raise ModelError(f"{origin}: its metadata {KEY!r} cannot be read as JSON ({error}); {AGAIN}") from error
    if not isinstance(found, dict):
        raise ModelError(f"{origin}: its metadata {KEY!r} is no table; {AGAIN}")
    for name, is_valid in _VALID.items():
        if not is_valid(found.get(name)):
            raise ModelError(f"{origin}: {name} is {found.get(name)!r} in its metadata; {AGAIN}")
    classes, thresholds = tuple(found["classes"]), found.get("thresholds")
    if thresholds is not None and len(thresholds) != len(classes):
        raise ModelError(f"{origin}: {len(thresholds)} thresholds for {len(classes)} classes in its metadata; {AGAIN}")
    known = {name: value for name, value in found.items() if name in Metadata.__dataclass_fields__}
    return Metadata(**known | {"classes": classes, "thresholds": None if thresholds is None else tuple(thresholds)})


def _is_one_of(*allowed: object) -> Any:
    return lambda value: isinstance(value, (str, int)) and value in allowed


def _is_list_of(kind: type | tuple[type, ...]) -> Any:
    return lambda value: isinstance(value, list) and len(value) > 0 and all(isinstance(one, kind) for one in value)


_VALID = {
    "task": _is_one_of(*get_args(Task)),
    "classes": _is_list_of(str),
    "image_size": lambda value: type(value) is int and value > 0,
    "channels": _is_one_of(1, 3),
    "resize": _is_one_of(*get_args(Resize)),
    "thresholds": lambda value: value is None or _is_list_of((int, float))(value),
}
"""What the fields that serving goes by may hold."""
