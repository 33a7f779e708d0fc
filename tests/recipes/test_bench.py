"""What a training needs before it begins."""

from typing import Any

import pytest

from pipeline.common import files
from pipeline.common.errors import UserError
from pipeline.recipes.bench import ROOM, Bench
from pipeline.training.world import World
from tests.training.tiny import CPU, small_network


def test_no_training_begins_on_a_disk_without_room_for_it(make_params, tmp_path, monkeypatch):
    model = small_network()
    size = sum(value.numel() * value.element_size() for value in model.state_dict().values())
    monkeypatch.setattr(files, "free_space", lambda folder: ROOM * size - 1)
    nothing: Any = None
    bench = Bench(make_params(), 0, nothing, nothing, CPU, World(CPU))
    with pytest.raises(UserError, match="its disk has 0 MiB free, and training a network of 0 MiB needs about 0 MiB"):
        bench.train(model, nothing, nothing, resume=tmp_path / "resume.pt", on_epoch=lambda epoch, metrics: None)
