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
from tests.training.together import KINDS, train


@pytest.fixture(scope="module")
def together(tmp_path_factory) -> Path:
    """What two processes, started once, have trained: a folder for each kind of objective."""
    folder = tmp_path_factory.mktemp("together")
    for kind, _, _ in KINDS:
        (folder / kind).mkdir()
        objective(folder / kind, kind)  # writes the soft labels once, for all processes
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "tests.training.together", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return folder


def losses(rows: list) -> list[float]:
    return [value for _, split, name, value in rows if (split, name) == ("train", "loss")]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "batch_size", "epochs"), KINDS)
def test_two_processes_have_the_loss_curve_of_one(together, tmp_path, kind, batch_size, epochs):
    first, second = (torch.load(together / kind / f"process{rank}.out", weights_only=True) for rank in range(2))
    alone, _ = train(tmp_path, kind, batch_size, epochs, World(CPU))
    assert first["history"] == second["history"]
    assert losses(first["history"]) == pytest.approx(losses(alone.history.rows), rel=1e-4)
    assert len(losses(first["history"])) == epochs
    for weights, expected in ((first["last"], alone.last), (first["smoothed"], alone.smoothed)):
        assert expected is not None
        for name, value in expected.items():
            assert weights[name].float().numpy() == pytest.approx(value.float().numpy(), abs=1e-4), name
    assert all(torch.equal(first["last"][name], second["last"][name]) for name in first["last"])


@pytest.mark.slow
def test_two_processes_find_the_margins_of_one(together, tmp_path):
    first, second = (torch.load(together / f"supervised/process{rank}.out", weights_only=True) for rank in range(2))
    _, expected = train(tmp_path, *KINDS[0], World(CPU))
    for name, values in expected.items():
        assert torch.equal(first["margins"][name], second["margins"][name])
        assert first["margins"][name].numpy() == pytest.approx(values.numpy(), abs=1e-3), name
    assert {*expected} == {"aum", "disagreed"}


@pytest.mark.slow
def test_two_processes_agree_with_the_first_and_share_what_is_to_be_answered(together):
    for rank in range(2):
        assert torch.load(together / f"process{rank}.out", weights_only=True) == {
            "agreed": {"process": 0},
            "leads": rank == 0,
            "answers": [0, 2, 4, 6, 8],
            "asked": [[0, 1, 2], [3, 4]][rank],
            "stream": ["dropout", "dropout of process 1"][rank],
        }


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
    assert world.agree({"mine": 1}) == {"mine": 1}


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
