"""What a training needs before it begins."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

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


def test_teachers_train_on_other_views_than_they_answer(make_params):
    N = 6
    pixels = torch.rand(N, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    prepared: Any = SimpleNamespace(
        images=np.zeros((N, 16, 16, 3), np.uint8), rows=lambda split: np.arange(N), given=np.zeros(N, np.int64),
        sample_ids=np.arange(N).astype(str),
    )  # fmt: skip
    bench = Bench(make_params(), 0, prepared, prepared.images, CPU, World(CPU))

    def shown(inputs: Any, view: int) -> torch.Tensor:
        return inputs.views.apply(pixels, torch.arange(N), view)

    inputs = bench.inputs()
    answered = [shown(inputs, view) for view in range(inputs.count)]
    for view in range(inputs.count):
        of_teacher = shown(bench.inputs(of_teachers=True), view)
        for other in answered:
            assert not any(torch.allclose(of_teacher[i], other[i]) for i in range(N))
