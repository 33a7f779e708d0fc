"""Where recipes are carried out: the data, the store, and the bench that trainings on one split share."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from pipeline.common.layout import Layout
from pipeline.data.prepared import Prepared, PreparedData
from pipeline.params.tree import Params
from pipeline.recipes.bench import Bench, open_bench
from pipeline.recipes.store import Store
from pipeline.training.device import pick_device
from pipeline.training.world import World, local_rank


class Data(Protocol):
    """Prepared data: that of the stages (PreparedData), or as other parameters ask for it (Variants)."""

    @property
    def digest(self) -> str: ...

    def prepared(self, params: Params) -> Prepared: ...

    def members(self, params: Params) -> Mapping[str, np.ndarray]: ...


class Workshop:
    """Data, store and bench of any number of trainings."""

    def __init__(self, data: Data, store: Store) -> None:
        self.data, self.store = data, store
        self._opened: Bench | None = None

    def bench(self, params: Params, seed: int) -> Bench:
        """The bench of these parameters; the images of one split are put on the device once."""
        prepared = self.data.prepared(params)
        if self._opened is None or self._opened.prepared is not prepared:
            self._opened = None  # one set of images on the device at a time
            self._opened = open_bench(params, seed, prepared)
        return replace(self._opened, params=params, seed=seed)

    def decides(self, params: Params, seed: int) -> dict[str, Any]:
        """What every training depends on, beside code and labels: images, splits, schedule, views and seed."""
        prepared = self.data.prepared(params)
        return {
            "data": self.data.digest,
            "splits": digest_of(*(prepared.rows(split) for split in ("train", "val", "test"))),
            "validation": digest_of(prepared.targets("val")),
            "training": params.training.model_dump(mode="json", exclude={"length"}),
            "views": params.views.model_dump(mode="json"),
            "seed": seed,
        }


def open_workshop(params: Params, layout: Layout) -> Workshop:
    """Open artifacts/ and its store for the trainings of a stage, which several processes may share."""
    world = World(pick_device(params.machine.device, local_rank()))
    return Workshop(PreparedData(layout, params.task), Store(layout.store, world))


def digest_of(*arrays: np.ndarray) -> str:
    """Return the hex SHA-256 of the shapes, types and bytes of arrays."""
    found = hashlib.sha256()
    for array in arrays:
        found.update(f"{array.dtype}{array.shape}".encode())
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()
