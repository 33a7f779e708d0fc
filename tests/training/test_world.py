"""Several processes train as one: the same losses, the same weights in each of them."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.common.errors import UserError
from pipeline.runtime.launch import under_torchrun
from pipeline.training.feed import epoch_batches
from pipeline.training.world import World
from tests.training.tiny import CPU, N, objective
from tests.training.together import train


def run_together(folder: Path, *arguments: object) -> list[dict]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "tests.training.together", str(folder), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return [torch.load(folder / f"process{rank}.out", weights_only=True) for rank in range(2)]


def losses(rows: list) -> list[float]:
    return [value for _, split, name, value in rows if (split, name) == ("train", "loss")]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "batch_size", "epochs"),
    [("supervised", 46, 20), ("stochastic", 46, 20), ("reinforced", 12, 5)],  # 46: each epoch is one step of 23 + 22
)
def test_two_processes_have_the_loss_curve_of_one(tmp_path, kind, batch_size, epochs):
    objective(tmp_path, kind)  # writes the soft labels once, for all processes
    alone = train(tmp_path, kind, batch_size, epochs, World(CPU))
    (tmp_path / "training.pt").unlink(missing_ok=True)
    first, second = run_together(tmp_path, kind, batch_size, epochs)
    assert first["history"] == second["history"]
    assert losses(first["history"]) == pytest.approx(losses(alone.history.rows), rel=1e-4)
    assert len(losses(first["history"])) == epochs
    for weights, expected in ((first["last"], alone.last), (first["smoothed"], alone.smoothed)):
        assert expected is not None
        for name, value in expected.items():
            assert weights[name].float().numpy() == pytest.approx(value.float().numpy(), abs=1e-4), name
    assert all(torch.equal(first["last"][name], second["last"][name]) for name in first["last"])


def test_a_process_on_its_own_is_a_world_of_one(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "8")  # set by some cluster, not by torchrun
    world = World(CPU)
    assert not under_torchrun()
    assert (world.size, world.rank, world.leads) == (1, 0, True)
    model = torch.nn.Linear(2, 2)
    assert world.replicate(model, synchronised=False) is model
    assert world.total(torch.tensor([3.0])).tolist() == [3.0]
    assert world.answer(np.arange(3), lambda rows: rows * 2).tolist() == [0, 2, 4]
    assert world.named("dropout") == "dropout"


def test_a_batch_that_cannot_be_shared_equally_is_refused():
    world = World(CPU)
    world.size = 3
    with pytest.raises(UserError, match=r"training\.batch_size is 64, which 3 processes cannot share equally"):
        world.require_divisor(64)


def test_the_order_is_that_of_one_process_where_each_has_two_samples_of_a_batch():
    alone, together = epoch_batches(N, 12, 3, 1), epoch_batches(N, 12, 3, 1, world=5)  # four pieces of 11 or 12
    assert [batch.tolist() for batch in alone] == [batch.tolist() for batch in together]
    few = epoch_batches(N, 12, 3, 1, world=6)  # pieces of 11 would be less than two samples for each
    assert [len(batch) for batch in few] == [15, 15, 15]
