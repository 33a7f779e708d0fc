"""How much faster are two processes than one? Under torchrun with gloo on the CPU, one thread each, the same batch.

Both processes live through the whole measurement. In one turn they train together, in the next process 0 trains alone
on whole batches while the other waits.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.rows import Row, at_least
from benchmarks.timing import TURNS

PROCESSES, GLOBAL_BATCH, STEPS = 2, 128, 6
LIMIT = 1.6
ROOT = Path(__file__).parents[1]


def measure(params: object) -> list[Row]:
    """Return the speed of two processes over that of one."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "seconds.json"
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(PROCESSES)]
        command += ["-m", "benchmarks.ddp", str(out), *map(str, (GLOBAL_BATCH, STEPS, TURNS))]
        subprocess.run(command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=True)
        seconds = {name: np.array(values) for name, values in json.loads(out.read_text()).items()}
    what = (
        f"speed of {PROCESSES} gloo processes over one, one thread each; 64 px, global batch {GLOBAL_BATCH}, {STEPS} "
        "steps a turn, CPU"
    )
    return [at_least("ddp", seconds["alone"] / seconds["together"], LIMIT, what)]


def main(out: Path, batch_size: int, steps: int, turns: int) -> None:
    """Measure as one of the processes; process 0 writes the seconds of each turn."""
    import torch
    import torch.distributed as dist

    from benchmarks.timing import alternate
    from benchmarks.trainings import ROSKD, objective, random_images, training, training_set
    from pipeline.params.file import load
    from pipeline.training.world import World

    torch.set_num_threads(1)
    device, params = torch.device("cpu"), load()
    world, lone = World(device), World(device)
    lone.size, lone.rank = 1, 0
    data = training_set(random_images(batch_size * steps), device)
    plain = objective(ROSKD, None, batch_size * steps, device)
    together = training(params, data, plain, device, batch_size=batch_size, world=world)
    alone = training(params, data, plain, device, batch_size=batch_size, world=lone)
    seconds = alternate(
        {"together": together.run_epoch, "alone": alone.run_epoch if world.leads else lambda: None},
        dist.barrier,
        turns,
    )
    if world.leads:
        out.write_text(json.dumps({name: values.tolist() for name, values in seconds.items()}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
