"""Share tasks among processes that die with their parent, leave Ctrl-C to it and are missed when killed.

Beside concurrent.futures: a killed parent leaves no worker behind, a stopped one waits for none, and no threads of the
parent take part, which halves what a task costs it.
"""

import gc
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import connection, get_context, parent_process
from typing import Generic, TypeVar

from pipeline.common.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")

START_METHOD = "fork" if sys.platform == "linux" else "spawn"
"""A forked worker is there after milliseconds, a spawned one, which imports everything again, after seconds."""
AHEAD = 2
"""Tasks that a worker has at hand, so that it never waits for the next."""


def count_cores() -> int:
    """Return the number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def share(work: Callable[[Item], Result], tasks: Sequence[Item], workers: int) -> Generator[Result]:
    """Yield `work(task)` for every task as it is done, in any order; with one worker here, without a process.

    `work` is picklable where START_METHOD is spawn. Raises UserError if a worker is killed, and what `work` raises.
    """
    if min(workers, len(tasks)) <= 1:
        yield from map(work, tasks)
        return
    crew: list[_Worker[Item, Result]] = []
    try:
        with _interrupts_ignored():
            crew.extend(_Worker(work) for _ in range(min(workers, len(tasks))))
        yield from _hand_out(crew, tasks)
    finally:
        for worker in crew:
            worker.kill()
        for worker in crew:
            worker.bury()


class _Worker(Generic[Item, Result]):
    """One process and this end of the line to it."""

    def __init__(self, work: Callable[[Item], Result]) -> None:
        context = get_context(START_METHOD)
        self.line, far_end = context.Pipe()
        self.busy = 0
        self._process = context.Process(target=_serve, args=(work, far_end), daemon=True)
        self._process.start()
        far_end.close()  # else its end would not be noticed

    def give(self, task: Item) -> None:
        try:
            self.line.send(task)
        except OSError:
            raise _killed() from None
        self.busy += 1

    def take(self) -> Result:
        try:
            result = self.line.recv()
        except (EOFError, OSError):
            raise _killed() from None
        self.busy -= 1
        if isinstance(result, Exception):
            raise result
        return result

    def kill(self) -> None:
        self._process.kill()

    def bury(self) -> None:
        self._process.join()
        self.line.close()


def _hand_out(crew: list[_Worker[Item, Result]], tasks: Sequence[Item]) -> Iterator[Result]:
    waiting = iter(tasks)
    for _ in range(AHEAD):
        for worker in crew:
            _give_next(worker, waiting)
    of_line = {worker.line: worker for worker in crew}
    while lines := [worker.line for worker in crew if worker.busy]:
        for line in connection.wait(lines):
            worker = of_line[line]  # type: ignore[index]
            result = worker.take()
            _give_next(worker, waiting)
            yield result


def _give_next(worker: _Worker[Item, Result], waiting: Iterator[Item]) -> None:
    for task in waiting:
        worker.give(task)
        return


def _killed() -> UserError:
    return UserError(
        "prepare: a worker process was killed, perhaps because memory ran out. Run again: what is finished is kept. "
        "If it happens again, lower machine.workers"
    )


def _serve(work: Callable[[Item], Result], line: connection.Connection) -> None:
    """What a worker does."""
    gc.freeze()  # to look through what the parent has would copy every memory page that holds it
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    while True:
        task = line.recv()
        try:
            result = work(task)
        except Exception as error:
            error.add_note(traceback.format_exc())
            result = error
        line.send(result)


def _die_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """While workers start, which inherit it: Ctrl-C reaches every process of a terminal."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
