"""Lay a preset over params.yaml, comments kept, and check the result before a byte of it is written."""

from pathlib import Path
from typing import Any

from pipeline.common.errors import UserError
from pipeline.common.files import write_text
from pipeline.common.layout import Layout
from pipeline.params.file import PARAMS_FILE, load, read_yaml
from pipeline.params.overlay import changes, overlaid
from pipeline.runtime.lock_file import set_damaged_files_aside
from pipeline.stages.check import inspect

PRESETS = Path("presets")


def run(name: str | None, data_path: str | None, weights: str | None, layout: Layout) -> None:
    """Merge presets/<name>.yaml and `data_path` (data.path) into params.yaml, print what changed, check everything.

    `weights` becomes teachers.weights and student.weights where these are not null.

    A file that DVC was killed while writing is set aside.

    Raises UserError, with params.yaml as it was, for an unknown preset or a mistake in the merged parameters or data.
    """
    set_damaged_files_aside()
    overlay = read_preset(name) if name else {}
    if data_path:
        overlay.setdefault("data", {})["path"] = data_path
    if weights:
        _set_weights(overlay, weights)
    if not overlay:
        inspect(load(), layout)
        return
    before = load()
    text, after = overlaid(PARAMS_FILE, overlay, f"preset {name or 'DATA'}")
    inspect(after, layout)
    changed = changes(before, after)
    if changed:
        write_text(PARAMS_FILE, text)
        print("\n".join([f"{PARAMS_FILE}: changed by preset {name or 'DATA'}:", *changed]))


def _set_weights(overlay: dict[str, Any], weights: str) -> None:
    """Name the weights in the sections that have any, by the overlay or else by params.yaml. Raises UserError."""
    before = read_yaml(PARAMS_FILE)
    merged = {name: before.get(name, {}) | overlay.get(name, {}) for name in ("teachers", "student")}
    pretrained = [name for name, section in merged.items() if section.get("weights") is not None]
    if not pretrained:
        raise UserError(
            f"WEIGHTS is {weights}, but teachers.weights and student.weights are null, from scratch; set them to "
            "imagenet where pretrained weights are wanted, or take a preset with features"
        )
    for name in pretrained:
        overlay.setdefault(name, {})["weights"] = weights


def read_preset(name: str) -> dict[str, Any]:
    """Return the overlay of a preset; raises UserError that lists the known ones."""
    known = sorted(str(path.relative_to(PRESETS).with_suffix("")) for path in PRESETS.rglob("*.yaml"))
    if name not in known:
        raise UserError(f"PRESET is {name!r}; the presets are {', '.join(known)}")
    return read_yaml(PRESETS / f"{name}.yaml")
