"""The store: each result is made once, whole or not at all, whoever makes it and however that ends."""

import errno
import json
import multiprocessing
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest

from pipeline.common.errors import SettingError, UserError
from pipeline.recipes.store import MADE_FROM, Node, Store, TrainingAbandonedError, link


def node(name: str, log: Path, fail: BaseException | None = None, *, files: tuple[str, ...] = ("whole.txt",)) -> Node:
    """A result that notes when it is made."""

    def make(folder: Path, on_epoch: object) -> None:
        with log.open("a") as stream:
            stream.write(f"{name} {sorted(path.name for path in folder.iterdir())}\n")
        (folder / "half.txt").write_text(name)
        if fail is not None:
            raise fail
        for file in files:
            (folder / file).write_text(name)

    return Node("things", f"thing {name}", {"name": name}, files, make)


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def log(tmp_path) -> Path:
    return tmp_path / "log"


def test_a_result_is_made_once_under_the_hash_of_what_decides_it(store, log):
    first, second = node("a", log), node("b", log)
    store.get([first, second])
    store.get([first])
    assert log.read_text().splitlines() == ["a []", "b []"]
    assert store.file(second, "whole.txt").read_text() == "b"
    assert store.path(first).name == first.key != second.key
    assert store.record(first)["decided by"] == {"name": "a"}
    assert 0 <= store.seconds(first) < 5
    assert abs(store.made_at(first) - time.time()) < 60


def test_a_failure_of_the_setting_leaves_nothing_and_anything_else_what_it_had(store, log):
    for fail in (SettingError("diverged"), TrainingAbandonedError(), KeyboardInterrupt(), ValueError("a bug")):
        with pytest.raises(type(fail)):
            store.get([node("a", log, fail)])
    store.get([node("a", log)])
    assert log.read_text().splitlines() == ["a []", "a []", "a []", "a ['half.txt']", "a ['half.txt']"]
    path = store.path(node("a", log))
    assert sorted(one.name for one in path.parent.iterdir()) == [f".{path.name}.lock", path.name]


def test_a_result_that_lacks_a_file_is_made_again(store, log):
    store.get([node("a", log)])
    fuller = node("a", log, files=("whole.txt", "weights.txt"))
    assert store.has(node("a", log))
    assert not store.has(fuller)
    store.get([fuller])
    digest = store.digest(fuller, "weights.txt")
    store.drop(fuller, "weights.txt")
    assert not store.has(fuller)
    assert store.is_recorded(fuller)
    assert store.digest(fuller, "weights.txt") == digest
    assert log.read_text().splitlines() == ["a []", "a []"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "whole.txt").write_text("b"), r"whole\.txt: is damaged, its SHA-256 is not the one"),
        (lambda folder: (folder / MADE_FROM).unlink(), r"made_from\.json: cannot be read .* what the thing a in that"),
        (lambda folder: (folder / MADE_FROM).write_text("{"), r"made_from\.json: cannot be read"),
        (
            lambda folder: (folder / MADE_FROM).write_text(json.dumps({"files": {}, "decided by": {"name": "z"}})),
            r"made_from\.json: the thing a was made from something else",
        ),
    ],
)
def test_what_is_read_is_what_was_written_and_the_remedy_works(store, log, damage, message):
    own = node("a", log)
    store.get([own])
    store.file(own, "whole.txt")
    time.sleep(0.01)
    damage(store.path(own))
    with pytest.raises(UserError, match=message) as error:
        store.file(own, "whole.txt")
    assert str(error.value).endswith(f"Delete {store.path(own)} and run again: it will be made again")
    for path in store.path(own).iterdir():
        path.unlink()
    store.path(own).rmdir()
    store.get([own])
    assert store.file(own, "whole.txt").read_text() == "a"


def test_a_full_disk_is_an_error_that_names_the_node_and_keeps_what_is_done(store, log):
    full = OSError(errno.ENOSPC, "No space left on device", "half.txt")
    with pytest.raises(UserError, match=r"half\.txt: No space left on device, while making the thing a\. What is fin"):
        store.get([node("a", log, full)])
    assert not store.has(node("a", log))
    store.get([node("a", log)])
    assert log.read_text().splitlines() == ["a []", "a ['half.txt']"]


def test_a_store_that_cannot_be_written_is_an_error_that_names_the_node(store, log, monkeypatch):
    def refuse(path: Path) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr(Path, "touch", refuse)  # the super-user may write to any folder that chmod has closed
    with pytest.raises(
        UserError, match=r"\.lock: Read-only file system, while making the thing a\. What is finished is"
    ):
        store.get([node("a", log)])
    assert not log.exists()


def test_files_are_linked_under_their_names_and_replace_what_was_there(store, log, tmp_path):
    target = tmp_path / "artifacts/teachers"
    target.mkdir(parents=True)
    (target / "old.txt").touch()
    a, b = node("a", log), node("b", log)
    store.get([a, b])
    link(store, {"a.txt": (a, "whole.txt"), "deep/b.txt": (b, "whole.txt")}, target)
    assert sorted(str(path.relative_to(target)) for path in target.rglob("*.txt")) == ["a.txt", "deep/b.txt"]
    assert (target / "a.txt").stat().st_ino == store.file(a, "whole.txt").stat().st_ino
    link(store, {}, target)
    assert list(target.iterdir()) == []


def test_a_workspace_survives_a_failure_and_goes_with_success_or_another_purpose(store):
    with suppress(KeyboardInterrupt), store.workspace("images", {"size": 32}) as folder:
        (folder / "half.txt").touch()
        raise KeyboardInterrupt
    with store.workspace("images", {"size": 32}) as again:
        assert [path.name for path in again.iterdir()] == ["half.txt"]
    assert not again.exists()
    with suppress(KeyboardInterrupt), store.workspace("images", {"size": 32}):
        raise KeyboardInterrupt
    with store.workspace("images", {"size": 64}) as other:
        assert list(other.parent.iterdir()) == [other]


def slow(root: Path, log: Path, pause: float) -> None:
    """Make a, b and c, each taking a while."""

    def make(folder: Path, on_epoch: object) -> None:
        with log.open("a") as stream:
            stream.write(f"{os.getpid()} {folder.name}\n")
        time.sleep(pause)

    Store(root).get([Node("things", name, {"name": name}, (), make) for name in "abc"])


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
