"""DVC's own files as a kill can leave them: it empties one before it writes it, and refuses to run with half of it."""

import json
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

LOCK = Path("dvc.lock")
IN_USE = Path(".dvc/tmp/rwlock")
"""Which paths running stages of DVC read and write."""


def set_damaged_files_aside(root: Path = Path()) -> None:
    """Rename a file that DVC was killed while writing.

    Without dvc.lock it checks everything, and trains nothing; without the other it knows of no stage that runs.
    """
    for path, is_whole in ((root / LOCK, _is_whole), (root / IN_USE, _is_json)):
        if path.exists() and not is_whole(path):
            _set_aside(path)


def _set_aside(path: Path) -> None:
    aside = path.with_name(f"{path.name}.damaged")
    path.replace(aside)
    print(
        f"{path}: was cut off while DVC wrote it; set aside as {aside.name}. Nothing that is finished runs again",
        flush=True,
    )


def _is_whole(path: Path) -> bool:
    try:
        text = path.read_text(encoding="utf-8")
        tree = YAML(typ="safe").load(text) if text.endswith("\n") else None
    except (YAMLError, UnicodeDecodeError):
        return False
    stages = tree.get("stages") if isinstance(tree, dict) and "schema" in tree else None
    return isinstance(stages, dict) and all(map(_is_stage, stages.values()))


def _is_json(path: Path) -> bool:
    try:
        return isinstance(json.loads(path.read_text(encoding="utf-8")), dict)
    except ValueError:
        return False


def _is_stage(stage: Any) -> bool:
    files = [*stage.get("deps", ()), *stage.get("outs", ())] if isinstance(stage, dict) and "cmd" in stage else [None]
    return all(isinstance(one, dict) and "path" in one and "md5" in one for one in files)
