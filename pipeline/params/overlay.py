"""Other values laid over params.yaml, comments kept: by a preset, or by a study's best trial."""

import io
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from pipeline.params.file import validate
from pipeline.params.tree import Params, flatten


def overlaid(path: Path, overlay: dict[str, Any], origin: str) -> tuple[str, Params]:
    """Return the text of the file `path` with `overlay` over it, and the parameters that it then holds.

    Writes nothing. Raises UserError, in which `origin` names the overlay, for a mistake in the merged parameters.
    """
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096  # no line breaks of ruamel's own
    yaml.representer.add_representer(type(None), _plain_null)
    document = yaml.load(path.read_text(encoding="utf-8"))
    merge(document, overlay)
    text = io.StringIO()
    yaml.dump(document, text)
    return text.getvalue(), validate(YAML(typ="safe", pure=True).load(text.getvalue()), f"{path} with {origin}")


def changes(before: Params, after: Params) -> list[str]:
    """Return a line for each parameter that differs; of tables, such as study.grids, for each entry."""
    old, new = _entries(before), _entries(after)
    return [
        f"  {key}: {old.get(key, 'nothing')} -> {new.get(key, 'nothing')}"
        for key in old | new
        if old.get(key) != new.get(key)
    ]


def _entries(params: Params) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in flatten(params).items():
        entries = {f"{key}.{name}": one for name, one in value.items()} if isinstance(value, dict) else {key: value}
        for name, one in entries.items():
            found[name] = one.model_dump(mode="json", exclude_defaults=True) if isinstance(one, BaseModel) else one
    return found


def _plain_null(representer: Any, value: None) -> Any:
    return representer.represent_scalar("tag:yaml.org,2002:null", "null")


def merge(document: CommentedMap, overlay: dict[str, Any]) -> None:
    """Lay `overlay` over `document` in place: sections are merged, everything else is replaced."""
    for key, value in overlay.items():
        if isinstance(value, dict) and isinstance(document.get(key), dict):
            merge(document[key], value)
        elif isinstance(value, list):
            sequence = CommentedSeq(value)
            sequence.fa.set_flow_style()
            if isinstance(document.get(key), CommentedSeq):
                sequence.ca.comment = document[key].ca.comment
            document[key] = sequence
        else:
            document[key] = value
