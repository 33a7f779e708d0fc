"""A study from its first trial to its report: workers in processes of their own."""

import difflib
import os
import subprocess
import sys
import time

from pipeline.common.errors import UserError
from pipeline.data.variants import StudyData
from pipeline.params.tree import Params
from pipeline.runtime.workers import count_cores
from pipeline.study.plan import Plan, make_plan
from pipeline.study.queue import Queue
from pipeline.study.storage import open_storage

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it."""


def run(params: Params, name: str, workers: int, *, again: bool = False) -> int:
    """Begin or go on with a study and return the exit status; `again`: also with what failed for its own reasons.

    Raises UserError where the study cannot be begun, or where units are left because workers ended.
    """
    plan = make_plan(name, params, StudyData(params).digest)
    queue = Queue(plan, open_storage(params))
    queue.create(again=again)
    total, left = len(plan.units), queue.left()
    if not plan.is_grid:
        print(f"study {name}: {_search_line(name, params)}")
    print(f"study {name}: {total - left} of {total} {_units(plan)} done, {left} to do", flush=True)
    begun = time.time()
    if left and not _run_workers(name, min(workers, left)):
        left = queue.left()
        print(f"study {name}: interrupted, {left} of {total} left; the same command goes on", flush=True)
        return INTERRUPTED
    left = queue.left()
    if left:
        raise UserError(
            f"study {name}: {left} of {total} {_units(plan)} are left, though its workers have ended; what they "
            "printed says why. The same command goes on"
        )
    told = [f"--wall={time.time() - begun:.1f}"] if _all_begun_since(begun, queue) else []
    command = [sys.executable, "-m", "pipeline.study", "report", name, *told, f"--workers={workers}"]
    return subprocess.run(command, check=False, env=_environment(workers)).returncode


def work(params: Params, name: str) -> None:
    """Be one worker of a study; an interrupt gives its trial back and ends quietly."""
    from pipeline.study.lab import Lab
    from pipeline.study.worker import Worker

    lab = Lab(params)
    try:
        Worker(make_plan(name, params, lab.data.digest), params, lab).work()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _run_workers(name: str, workers: int) -> bool:
    """Run so many workers until the queue is empty; returns False where Ctrl-C ended them."""
    command = [sys.executable, "-m", "pipeline.study", "worker", name]
    started = [subprocess.Popen(command, env=_environment(workers)) for _ in range(workers)]
    try:
        for process in started:
            process.wait()
    except KeyboardInterrupt:  # the terminal has told the workers, too
        for process in started:
            process.wait()
        return False
    return all(process.returncode != INTERRUPTED for process in started)


def _environment(workers: int) -> dict[str, str]:
    """The cores shared out; what the user has set stays."""
    return {"OMP_NUM_THREADS": str(max(1, count_cores() // workers))} | dict(os.environ)


def _all_begun_since(begun: float, queue: Queue) -> bool:
    """Whether the clock since `begun` speaks about the whole study: every trial is of this run."""
    starts = [trial.datetime_start for trial in queue.trials()]
    return all(start is not None and start.timestamp() >= begun for start in starts)


def _search_line(name: str, params: Params) -> str:
    """What is searched; a name that is nearly a grid's may have been meant for it."""
    near = difflib.get_close_matches(name, params.study.grids, 1, 0.8)
    meant = f" (no grid has this name; was {near[0]} meant? Ctrl-C, then give that)" if near else ""
    return f"a search over {', '.join(params.study.space)}{meant}"


def _units(plan: Plan) -> str:
    return "cells" if plan.is_grid else "trials"
