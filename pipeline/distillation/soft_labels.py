"""The teachers' answers, computed once for every view and shared by all students (design: soft labels).

Beside each file of logits lies a JSON file that says what they were made from. A reader states what it needs and
refuses, by name, a file made from other teacher weights, other views or other data.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from models.inference import Images, predict
from pipeline.common.errors import SettingError, UserError
from pipeline.common.files import reserve, sha256_file, sha256_json, write_json
from pipeline.data.views import PRESETS, Views
from pipeline.params.tree import ViewParams

BLOCK_ROWS = 16_384
"""Images answered between two notes of progress; a killed run loses at most one block."""

Origin = dict[str, Any]
"""What stored answers depend on: SHA-256 of `teacher weights` and `data`, and the definition of the `views`."""


def origin_of(weights: Path, data_hash: str, rows: np.ndarray, views: ViewParams) -> Origin:
    """Return what a teacher's answers depend on.

    `weights`: the teacher's file; `data_hash`: of the prepared images (report.json); `rows`: the N training rows.
    """
    return {
        "teacher weights": sha256_file(weights),
        "data": sha256_json([data_hash, rows.tolist()]),
        "views": views.model_dump(mode="json") | {"ranges": asdict(PRESETS[views.preset])},
    }


def write_soft_labels(
    path: Path,
    origin: Origin,
    teacher: nn.Module,
    images: np.ndarray | Images,
    rows: np.ndarray,
    views: Views,
    device: torch.device,
) -> None:
    """Write a teacher's logits, float16 (V + 1, N, C): the V augmented views, then the clean one.

    `rows`: the N training rows of images.npy; entry n of the file belongs to rows[n]. A killed run is taken up after
    its last finished block, if it was of the same origin. Raises UserError if an answer is not finite in float16,
    which no student could learn from: the teacher's training diverged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial, progress = path.with_suffix(".partial.npy"), path.with_suffix(".progress.json")
    blocks = [(view, start) for view in range(views.count + 1) for start in range(0, len(rows), BLOCK_ROWS)]
    done = _blocks_done(partial, progress, origin)
    store = np.lib.format.open_memmap(partial, mode="r+") if done else None
    for number, (view, start) in enumerate(blocks[done:], done + 1):
        part = rows[start : start + BLOCK_ROWS]
        logits = predict(teacher, images, part, device, lambda pixels, rows, view=view: views.apply(pixels, rows, view))
        if not np.abs(logits).max() <= np.finfo(np.float16).max:
            raise SettingError(
                f"soft labels: the teacher {path.stem} answers with logits that are not finite; it diverged. "
                "Lower training.lr and run again"
            )
        if store is None:
            shape = (views.count + 1, len(rows), logits.shape[1])
            store = np.lib.format.open_memmap(partial, mode="w+", dtype=np.float16, shape=shape)
            reserve(partial, partial.stat().st_size)
        store[view, start : start + len(part)] = logits
        store.flush()
        write_json(progress, {"origin": origin, "blocks": number})
    partial.replace(path)
    write_json(_record(path), {"origin": origin})  # written last: it says that the file is whole
    progress.unlink()


def is_written(path: Path, origin: Origin) -> bool:
    """Return whether `path` is whole and of this origin."""
    return path.is_file() and _read(_record(path)).get("origin") == origin


def _blocks_done(partial: Path, progress: Path, origin: Origin) -> int:
    """How many blocks an interrupted run has finished; 0 where it was of another origin."""
    note = _read(progress)
    return int(note["blocks"]) if partial.is_file() and note.get("origin") == origin else 0


def _record(path: Path) -> Path:
    return path.with_suffix(".json")


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


class SoftLabels:
    """Reads the stored logits of several teachers, one view at a time, onto the training device."""

    def __init__(self, paths: Sequence[Path], origins: Sequence[Origin], device: torch.device) -> None:
        self._stores = [_open(path, origin) for path, origin in zip(paths, origins, strict=True)]
        self._device = device
        self._view: tuple[int, torch.Tensor] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Number of teachers K and of classes C."""
        return len(self._stores), self._stores[0].shape[-1]

    def logits(self, view: int, index: torch.Tensor, pixels: torch.Tensor | None = None) -> torch.Tensor:
        """Return float32 (K, B, C): what each teacher says of the training samples `index` (B,) in `view`."""
        if self._view is None or self._view[0] != view:
            stacked = np.stack([store[view] for store in self._stores])
            self._view = (view, torch.from_numpy(stacked).to(self._device))
        return self._view[1][:, index].float()


def _open(path: Path, origin: Origin) -> np.ndarray:
    """Map the file; raises UserError where it is absent, cut off, or made from something else than `origin`."""
    remedy = "Run the soft_labels stages again (make repro does)"
    made_from = _read(_record(path)).get("origin")
    if made_from is None or not path.is_file():
        raise UserError(f"{path}: no finished soft labels there. {remedy}")
    other = [name for name in origin if made_from.get(name) != origin[name]]
    if other:
        raise UserError(f"{path}: was made from other {', '.join(other)} than this training uses. {remedy}")
    try:
        return np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path}: is damaged or cut off ({error}). Delete it. {remedy}") from error
