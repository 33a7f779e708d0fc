"""The teachers' answers, computed once for every view and shared by all students (design: soft labels)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from models.inference import predict
from pipeline.data.views import Views
from pipeline.errors import UserError
from pipeline.files import atomic


def write_soft_labels(
    path: Path, teacher: nn.Module, images: np.ndarray, rows: np.ndarray, views: Views, device: torch.device
) -> None:
    """Write a teacher's logits, float16 (V + 1, N, C): the V augmented views, then the clean one.

    `rows`: the N training rows of images.npy; entry n of the file belongs to rows[n]. Raises UserError if an answer is
    not finite in float16, which no student could learn from: the teacher's training diverged.
    """
    with atomic(path) as temporary:
        store: np.memmap | None = None
        for view in range(views.count + 1):
            logits = predict(
                teacher, images, rows, device, lambda pixels, part, view=view: views.apply(pixels, part, view)
            )
            if not np.abs(logits).max() <= np.finfo(np.float16).max:
                raise UserError(
                    f"soft labels: the teacher {path.stem} answers with logits that are not finite; it diverged. "
                    "Lower training.lr and run again"
                )
            if store is None:
                shape = (views.count + 1, *logits.shape)
                store = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float16, shape=shape)
            store[view] = logits
            store.flush()


class SoftLabels:
    """Reads the stored logits of several teachers, one view at a time, onto the training device."""

    def __init__(self, paths: Sequence[Path], num_samples: int, views: int, device: torch.device) -> None:
        self._stores = [_open(path, num_samples, views) for path in paths]
        self._device = device
        self._view: tuple[int, torch.Tensor] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Number of teachers K and of classes C."""
        return len(self._stores), self._stores[0].shape[-1]

    def logits(self, view: int, positions: np.ndarray) -> torch.Tensor:
        """Return float32 (K, B, C): what each teacher says of the training samples `positions` (B,) in `view`."""
        if self._view is None or self._view[0] != view:
            stacked = np.stack([store[view] for store in self._stores])
            self._view = (view, torch.from_numpy(stacked).to(self._device))
        index = torch.from_numpy(positions).to(self._device)
        return self._view[1][:, index].float()


def _open(path: Path, num_samples: int, views: int) -> np.ndarray:
    store = np.load(path, mmap_mode="r")
    if store.shape[:2] != (views + 1, num_samples):
        raise UserError(
            f"{path}: holds {store.shape[0]} views of {store.shape[1]} samples, needed are {views + 1} of "
            f"{num_samples}; it was made from other data or views. Run the soft_labels stages again"
        )
    return store
