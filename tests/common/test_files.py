"""Writes that are whole or not there."""

import errno
import os

import pytest

from pipeline.common.files import atomic, replace_folder, reserve, sha256_files, sha256_json


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
def test_a_full_disk_is_told_before_a_sparse_file_is_written_to(tmp_path, monkeypatch):
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
