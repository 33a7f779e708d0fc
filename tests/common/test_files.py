"""Writes that are whole or not there."""

import errno
import os
import subprocess
from pathlib import Path

import pytest

from pipeline.common import files
from pipeline.common.errors import UserError
from pipeline.common.files import (
    atomic,
    replace_folder,
    require_content,
    reserve,
    sha256_file,
    sha256_files,
    sha256_json,
)


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")

    def write_half() -> None:
        with atomic(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["table.csv"]


def test_a_folder_takes_the_place_of_the_old_one(tmp_path):
    for name, content in (("new", "fresh"), ("out/place", "stale")):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / content).write_text(content)
    replace_folder(tmp_path / "new", tmp_path / "out/place")
    assert [file.name for file in (tmp_path / "out/place").iterdir()] == ["fresh"]


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="the system cannot reserve disk space")
def test_a_full_disk_is_reported_before_a_sparse_file_is_written_to(tmp_path, monkeypatch):
    path = tmp_path / "images.npy"
    with path.open("wb") as stream:
        stream.truncate(1 << 20)
    assert path.stat().st_blocks * 512 < 1 << 20
    reserve(path, 1 << 20)
    assert path.stat().st_blocks * 512 >= 1 << 20

    def full(*arguments: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*images\.npy'"):
        reserve(path, 1 << 20)


def test_hashes_of_trees_ignore_the_order_of_keys_and_those_of_files_do_not(tmp_path):
    assert sha256_json({"a": 1, "b": [2]}) == sha256_json({"b": [2], "a": 1})
    first, second = tmp_path / "1", tmp_path / "2"
    first.write_text("1")
    second.write_text("2")
    assert sha256_files([first, second]) != sha256_files([second, first])


def test_what_is_renamed_is_on_the_disk_before(tmp_path, monkeypatch):
    order = []
    flush, rename = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: (order.append("flush"), flush(descriptor)))
    monkeypatch.setattr(Path, "replace", lambda path, target: (order.append("rename"), rename(path, target)))
    with atomic(tmp_path / "table.csv") as temporary:
        temporary.write_text("whole")
    assert order == ["flush", "rename"]


def test_leftovers_of_dead_processes_go_and_those_of_living_ones_stay(tmp_path):
    dead = subprocess.Popen(["true"])
    dead.wait()
    left, living = (tmp_path / f".table.{pid}.partial.csv" for pid in (dead.pid, os.getppid()))
    other = tmp_path / f".other.{dead.pid}.partial.csv"
    for path in (left, living, other):
        path.touch()
    with atomic(tmp_path / "table.csv") as temporary:
        temporary.touch()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([living.name, other.name, "table.csv"])


@pytest.mark.parametrize(
    "failure",
    [
        OSError(errno.ENOSPC, "No space left on device"),  # pandas, without a name
        OSError("52 requested and 12 written"),  # NumPy
        RuntimeError("[enforce fail at inline_container.cc] . unexpected pos 64 vs 0"),  # torch
    ],
)
def test_a_full_disk_is_an_error_that_names_the_file(tmp_path, monkeypatch, failure):
    monkeypatch.setattr(files, "free_space", lambda folder: 0)

    def write() -> None:
        with atomic(tmp_path / "labels.csv"):
            raise failure

    with pytest.raises(OSError, match=r"No space left on device: '.*/labels\.csv'"):
        write()
    monkeypatch.setattr(files, "free_space", lambda folder: 10**12)
    if failure.__class__ is RuntimeError:
        with pytest.raises(RuntimeError, match="unexpected pos"):
            write()


def test_content_is_compared_once_and_again_when_the_file_changes(tmp_path, monkeypatch):
    path, seen = tmp_path / "images.npy", tmp_path / "store/compared.json"
    path.write_bytes(b"pixels")
    digest, read = sha256_file(path), []
    monkeypatch.setattr(files, "sha256_file", lambda one: (read.append(one.name), sha256_file(one))[1])
    for _ in range(2):
        require_content(path, digest, seen, "Delete it")
    assert read == ["images.npy"]
    path.write_bytes(b"pixelz")
    os.utime(path, ns=(1, 1))
    with pytest.raises(UserError, match=r"images\.npy: is damaged.*Delete it"):
        require_content(path, digest, seen, "Delete it")


def test_a_disk_has_room_or_the_message_says_how_much_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "free_space", lambda folder: 5 << 20)
    files.require_free(tmp_path, 5 << 20, "a thing")
    with pytest.raises(UserError, match=r"its disk has 5 MiB free, and a thing needs about 6 MiB\. Make room"):
        files.require_free(tmp_path, 6 << 20, "a thing")
