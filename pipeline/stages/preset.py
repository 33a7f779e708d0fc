"""Lay a preset over params.yaml, comments kept, and check the result before a byte of it is written."""

import io
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from pipeline.errors import UserError
from pipeline.files import write_text
from pipeline.params import flatten
from pipeline.params_file import PARAMS_FILE, load, read_yaml, validate
from pipeline.stages.check import inspect

PRESETS = Path("presets")


def run(name: str | None, data_path: str | None) -> None:
    """Merge presets/<name>.yaml and `data_path` (data.path) into params.yaml, print what changed, check everything.

    Raises UserError, with params.yaml as it was, for an unknown preset or a mistake in the merged parameters or data.
    """
    overlay = read_preset(name) if name else {}
    if data_path:
        overlay.setdefault("data", {})["path"] = data_path
    if not overlay:
        inspect(load())
        return
    before = load()
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096  # no line breaks of ruamel's own
    yaml.representer.add_representer(type(None), _plain_null)
    document = yaml.load(PARAMS_FILE.read_text(encoding="utf-8"))
    merge(document, overlay)
    text = io.StringIO()
    yaml.dump(document, text)
    after = validate(YAML(typ="safe", pure=True).load(text.getvalue()), f"{PARAMS_FILE} with preset {name or 'DATA'}")
    inspect(after)
    old, new = flatten(before), flatten(after)
    changed = [f"  {key}: {old[key]} -> {new[key]}" for key in new if old[key] != new[key]]
    if changed:
        write_text(PARAMS_FILE, text.getvalue())
        print("\n".join([f"{PARAMS_FILE}: changed by preset {name or 'DATA'}:", *changed]))


def _plain_null(representer: Any, value: None) -> Any:
    return representer.represent_scalar("tag:yaml.org,2002:null", "null")


def read_preset(name: str) -> dict[str, Any]:
    """Return the overlay of a preset; raises UserError that lists the known ones."""
    known = sorted(path.stem for path in PRESETS.glob("*.yaml"))
    if name not in known:
        raise UserError(f"PRESET is {name!r}; the presets are {', '.join(known)}")
    return read_yaml(PRESETS / f"{name}.yaml")


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
