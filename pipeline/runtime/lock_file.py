"""dvc.lock as a kill can leave it: DVC empties the file before it writes it, and refuses to run with half of it."""

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

LOCK = Path("dvc.lock")


def set_damaged_lock_aside(path: Path = LOCK) -> None:
    """Rename a dvc.lock that DVC was killed while writing; without it DVC checks everything, and trains nothing."""
    if not path.exists() or _is_whole(path):
        return
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


def _is_stage(stage: Any) -> bool:
    files = [*stage.get("deps", ()), *stage.get("outs", ())] if isinstance(stage, dict) and "cmd" in stage else [None]
    return all(isinstance(one, dict) and "path" in one and "md5" in one for one in files)
