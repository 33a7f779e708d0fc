"""The teachers' answers, computed once for every view and shared by all students (method, section 3).

Beside each file of logits is a JSON file that says what they were made from. A reader states what it needs and
refuses, by name, a file made from other teacher weights, other views or other data.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline.common.errors import SettingError, UserError
from pipeline.common.files import atomic, require_digest, reserve, sha256_json
from pipeline.data.views import PRESETS
from pipeline.params.tree import ViewParams

CONTENT = "sha256"
"""Where the record of answers holds their own hash."""
Origin = dict[str, Any]
"""What stored answers depend on: SHA-256 of `teacher weights` and `data`, and the definition of the `views`."""


def origin_of(weights_hash: str, data_hash: str, rows: np.ndarray, views: ViewParams) -> Origin:
    """Return what a teacher's answers depend on.

    `weights_hash`: of the teacher's file; `data_hash`: of the prepared images (report.json); `rows`: the N training
    rows.
    """
    return {
        "teacher weights": weights_hash,
        "data": sha256_json([data_hash, rows.tolist()]),
        "views": views.model_dump(mode="json") | {"ranges": asdict(PRESETS[views.preset])},
    }


def write_soft_labels(
    path: Path,
    views: int,
    answer: Callable[[int], np.ndarray],
    *,
    title: str,
    leads: bool = True,
    agree: Callable[[list[int]], list[int]] = list,
) -> None:
    """Write a teacher's logits, float16 (V + 1, N, C): the V augmented views, then the clean one.

    `answer(view)` returns the logits of one view, (N, C). Each finished view is kept beside `path` until all are there,
    so that a killed run loses at most one. `leads`: of the processes that answer together, whether this one writes;
    `agree` returns what the one that leads passes.
    Raises SettingError if an answer is not finite in float16, which no student could learn from: the training of the
    teacher, `title`, diverged.
    """
    parts = [path.with_name(f"view-{view}.npy") for view in range(views + 1)]
    for view in agree([view for view, part in enumerate(parts) if not part.exists()]):
        logits = answer(view)
        if not np.abs(logits).max() <= np.finfo(np.float16).max:
            raise SettingError(
                f"soft labels: the teacher {title} answers with logits that are not finite; it diverged. "
                "Lower training.lr and run again"
            )
        if leads:
            with atomic(parts[view]) as temporary:
                np.save(temporary, logits.astype(np.float16))
    if leads:
        _join(parts, path)


def _join(parts: Sequence[Path], path: Path) -> None:
    """Write the views as one array, one after another, and remove them."""
    first = np.load(parts[0], mmap_mode="r")
    with atomic(path) as temporary:
        joined = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float16, shape=(len(parts), *first.shape))
        reserve(temporary, temporary.stat().st_size)
        for view, part in enumerate(parts):
            joined[view] = np.load(part)
        joined.flush()
    for part in parts:
        part.unlink()


def require_origin(path: Path, record: Path, origin: Origin) -> str:
    """Return the SHA-256 of the answers in `path`.

    Raises UserError unless they are there, whole, and were made from `origin`, as `record` says.
    """
    made_from = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else None
    if made_from is None or not path.is_file():
        raise UserError(f"{path}: no finished soft labels there. {REMEDY}")
    other = [name for name in origin if made_from.get(name) != origin[name]]
    if other:
        raise UserError(f"{path}: was made from other {', '.join(other)} than this training uses. {REMEDY}")
    require_digest(path, made_from.get(CONTENT), f"Delete it. {REMEDY}")
    return str(made_from[CONTENT])


REMEDY = "Run the soft_labels stages again (make repro does)"


class SoftLabels:
    """Reads the stored logits of several teachers, one view at a time, onto the training device."""

    def __init__(self, paths: Sequence[Path], device: torch.device) -> None:
        """Raises UserError where a file is absent, damaged or cut off."""
        self._stores = [_open(path) for path in paths]
        self._device = device
        self._view: tuple[int, torch.Tensor] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Number of teachers K and of classes C."""
        return len(self._stores), self._stores[0].shape[-1]

    def logits(self, view: int, index: torch.Tensor, inputs: torch.Tensor | None = None) -> torch.Tensor:
        """Return float32 (K, B, C): what each teacher says of the training samples `index` (B,) in `view`."""
        if self._view is None or self._view[0] != view:
            stacked = np.stack([store[view] for store in self._stores])
            self._view = (view, torch.from_numpy(stacked).to(self._device))
        return self._view[1][:, index].float()


def _open(path: Path) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path}: is damaged or cut off ({error}). Delete it. {REMEDY}") from error
