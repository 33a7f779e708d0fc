"""A study from its first student to its report: workers in processes of their own."""

import difflib
import os
import subprocess
import sys
import time

import torch

from pipeline import tracking
from pipeline.common.errors import UserError
from pipeline.common.layout import Layout
from pipeline.params.tree import Params
from pipeline.runtime.interrupts import interrupts_wait_in_children, let_interrupts_in
from pipeline.runtime.workers import count_cores
from pipeline.study.grid import Grid
from pipeline.study.page import finish
from pipeline.study.plan import Plan, make_plan
from pipeline.study.search import Searcher
from pipeline.study.students import Students
from pipeline.study.trials import Trials, open_storage

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it."""


def run(params: Params, layout: Layout, name: str, workers: int, *, again: bool = False) -> int:
    """Begin or continue a study and return the exit status; `again`: also with what failed for its own reasons.

    Raises UserError where the study cannot be begun, or where units are left because workers ended.
    """
    students = Students(params, layout)
    plan = make_plan(name, params, students.data.digest)
    work = Grid(plan, params, layout, students) if plan.is_grid else Trials(plan, open_storage(params, layout))
    if isinstance(work, Trials):
        work.create()
        print(f"study {name}: {_search_line(name, params)}")
    if again:
        work.forget_failures() if isinstance(work, Grid) else work.repeat_failed()
    total, left, begun = len(plan.units), _left(work), time.time()
    fresh = left == total
    print(f"study {name}: {total - left} of {total} {_units(plan)} done, {left} to do", flush=True)
    if left and not _run_workers(name, workers):
        print(f"study {name}: interrupted, {_left(work)} of {total} left; the same command continues", flush=True)
        return INTERRUPTED
    if left := _left(work):
        raise UserError(
            f"study {name}: {left} of {total} {_units(plan)} are left, though its workers have ended; what they "
            "printed says why. The same command continues"
        )
    torch.set_num_threads(_threads(workers))  # what is still to be trained for the report rounds as in a worker
    finish(params, layout, name, time.time() - begun if fresh else None, workers)
    return 0


def work(params: Params, layout: Layout, name: str) -> None:
    """Be one worker of a study; an interrupt gives back what was begun and ends quietly."""
    try:
        let_interrupts_in()
        students = Students(params, layout)
        plan = make_plan(name, params, students.data.digest)
        if plan.is_grid:
            Grid(plan, params, layout, students).work()
            return
        trials = Trials(plan, open_storage(params, layout))
        trials.study()
        study = tracking.study_run(params, layout, plan.name, plan.key)
        Searcher(plan, params, students, trials, study).work()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _left(work: Grid | Trials) -> int:
    return len(work.left()) if isinstance(work, Grid) else work.left()


def _run_workers(name: str, workers: int) -> bool:
    """Run so many workers until nothing is left to do; returns False where Ctrl-C ended them."""
    command = [sys.executable, "-m", "pipeline.study", "worker", name]
    started: list[subprocess.Popen[bytes]] = []
    try:
        with interrupts_wait_in_children():
            started += [subprocess.Popen(command, env=_environment(workers)) for _ in range(workers)]
        for process in started:
            process.wait()
    except KeyboardInterrupt:  # the terminal has interrupted the workers, too
        for process in started:
            process.wait()
        return False
    return all(process.returncode != INTERRUPTED for process in started)


def _environment(workers: int) -> dict[str, str]:
    return {"OMP_NUM_THREADS": str(_threads(workers))} | dict(os.environ)


def _threads(workers: int) -> int:
    """The cores shared out; what the user has set stays."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdecimal() else max(1, count_cores() // workers)


def _search_line(name: str, params: Params) -> str:
    """What is searched; a name that is nearly a grid's may have been meant for it."""
    near = difflib.get_close_matches(name, params.study.grids, 1, 0.8)
    meant = f" (no grid has this name; did you mean {near[0]}? Ctrl-C, then give that)" if near else ""
    return f"a search over {', '.join(params.study.space)}{meant}"


def _units(plan: Plan) -> str:
    return "cells" if plan.is_grid else "trials"
