"""The store: each result is made once, whole or not at all, whoever makes it and however that ends."""

import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from pipeline.recipes.store import Node, Store
from pipeline.study.outcome import seconds_of


def node(name: str, log: Path, fail: BaseException | None = None) -> Node:
    """A result that notes when it is made."""

    def make(folder: Path) -> None:
        with log.open("a") as stream:
            stream.write(f"{name} {sorted(path.name for path in folder.iterdir())}\n")
        (folder / "half.txt").write_text(name)
        if fail is not None:
            raise fail
        (folder / "whole.txt").write_text(name)

    return Node("things", {"name": name}, make)


def test_a_result_is_made_once_and_lies_under_the_hash_of_what_decides_it(tmp_path):
    store, log = Store(tmp_path / "store"), tmp_path / "log"
    first, second = store.get([node("a", log), node("b", log)])
    assert store.get([node("a", log)]) == [first]
    assert log.read_text().splitlines() == ["a []", "b []"]
    assert (second / "whole.txt").read_text() == "b"
    assert first.name == node("a", log).key != node("b", log).key
    assert json.loads((first / "made_from.json").read_text())["decided by"] == {"name": "a"}
    assert 0 <= seconds_of(first) < 5


def test_a_failure_leaves_nothing_and_an_interrupt_what_it_had(tmp_path):
    store, log = Store(tmp_path / "store"), tmp_path / "log"
    with pytest.raises(ValueError, match="diverged"):
        store.get([node("a", log, ValueError("diverged"))])
    with pytest.raises(KeyboardInterrupt):
        store.get([node("a", log, KeyboardInterrupt())])
    (path,) = store.get([node("a", log)])
    assert log.read_text().splitlines() == ["a []", "a []", "a ['half.txt']"]
    assert sorted(one.name for one in path.parent.iterdir()) == [f".{path.name}.lock", path.name]


def slow(root: Path, log: Path, pause: float) -> None:
    """Make a, b and c, each taking a while."""

    def make(folder: Path) -> None:
        with log.open("a") as stream:
            stream.write(f"{os.getpid()} {folder.name}\n")
        time.sleep(pause)

    Store(root).get([Node("things", {"name": name}, make) for name in "abc"])


def test_two_workers_share_the_work_and_neither_repeats_the_others(tmp_path):
    log, context = tmp_path / "log", multiprocessing.get_context("fork")
    both = [context.Process(target=slow, args=(tmp_path / "store", log, 1.0)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(30)
    lines = [line.split() for line in log.read_text().splitlines()]
    assert [process.exitcode for process in both] == [0, 0]
    assert len(lines) == len({name for _, name in lines}) == 3
    assert len({worker for worker, _ in lines}) == 2


def test_what_a_killed_worker_was_making_is_made_by_another(tmp_path):
    log = tmp_path / "log"
    process = multiprocessing.get_context("fork").Process(target=slow, args=(tmp_path / "store", log, 60.0))
    process.start()
    while not log.exists():
        time.sleep(0.05)
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    slow(tmp_path / "store", log, 0.0)
    assert len(log.read_text().splitlines()) == 4  # a, killed, and then a, b and c
