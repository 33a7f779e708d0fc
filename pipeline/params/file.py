"""params.yaml as a file: read and validated once, mistakes explained; and values set by dotted names."""

import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from models.errors import hint
from pipeline.common.errors import SettingError, UserError
from pipeline.params.tree import Params, flatten

PARAMS_FILE = Path("params.yaml")
SHORT = reprlib.Repr()
"""Values in messages: a few lines of YAML can hold gigabytes by aliases."""
SHORT.maxlist = SHORT.maxdict = 8
SHORT.maxstring = SHORT.maxother = 200
SHORT.maxlevel = 3
MOVED = {
    **{
        f"training.{name}": f"machine.{name}"
        for name in ("device", "data_on_device", "compile", "launcher", "processes")
    },
    "data.workers": "machine.workers",
}
"""Parameters of earlier versions, and where each is now."""


def read_yaml(path: Path) -> Any:
    """Return the content of a YAML file as plain dicts and lists; raises UserError where it cannot be read."""
    try:
        return YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; run from the repository's root") from None
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        raise UserError(f"{path}: cannot be read as YAML: {error}") from error


def load(path: Path = PARAMS_FILE) -> Params:
    """Read and validate params.yaml; raises UserError that lists every mistake."""
    params = validate(read_yaml(path), str(path))
    params.require_possible(params.methods, f"{path}: methods")  # a study has methods of its own, and looks itself
    return params


def validate(tree: Any, origin: str) -> Params:
    """Return the typed parameters of a plain tree; `origin` names it in messages. Raises UserError."""
    try:
        return Params.model_validate(tree)
    except ValidationError as error:
        lines = [_explain(item) for item in error.errors()]
        raise SettingError("\n".join(f"{origin}: {line}" for line in lines)) from None


def _explain(error: Any) -> str:
    """One mistake as a sentence: parameter, value, what is allowed, what to do."""
    location = [str(part) for part in error["loc"]]
    name = ".".join(location) or "parameters"
    if error["type"] == "extra_forbidden":
        if name in MOVED:
            return f"{name} has moved; set {MOVED[name]} instead"
        known = _fields(location[:-1])
        meant = hint(location[-1], known, f"known here: {', '.join(known)}")
        return f"{name} is not a parameter; {meant}"
    if error["type"] == "missing":
        return f"{name} is missing; add it (the commented params.yaml of the repository shows every parameter)"
    message = error["msg"].removeprefix("Value error, ").removeprefix("Input ")
    if error["type"] == "value_error":
        return message if name == "parameters" else f"{name}: {message}"
    meaning = _description(location)
    return f"{name} is {SHORT.repr(error['input'])}: {message}" + (f" ({meaning})" if meaning else "")


def _section(location: list[str]) -> type[BaseModel] | None:
    kind: Any = Params
    for part in location:
        if get_origin(kind) is dict:
            kind = get_args(kind)[1]
        else:
            field = kind.model_fields.get(part) if _is_section(kind) else None
            kind = field.annotation if field else None
    return kind if _is_section(kind) else None


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _fields(location: list[str]) -> list[str]:
    model = _section(location)
    return list(model.model_fields) if model else []


def _description(location: list[str]) -> str | None:
    model = _section(location[:-1]) if location else None
    field = model.model_fields.get(location[-1]) if model else None
    return field.description if field else None


def with_values(params: Params, values: Mapping[str, Any], origin: str) -> Params:
    """Return `params` with other values at dotted names, `{"distillation.tau": 2.0}`; `origin` names them in messages.

    Raises UserError for a name that is no parameter and for a value that params.yaml could not hold either.
    """
    known = flatten(params)
    tree = params.model_dump(mode="json")
    for name, value in values.items():
        if name not in known:
            meant = hint(name, known, "params.yaml shows all of them")
            raise UserError(f"{origin}: {name} is not a parameter; {meant}")
        *sections, leaf = name.split(".")
        place = tree
        for section in sections:
            place = place[section]
        place[leaf] = value
    return validate(tree, origin)
