"""One array from all images: its rows, its quarantine, and the same bytes whatever happens on the way."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from pipeline.common.errors import UserError
from pipeline.data.array import CHUNK_IMAGES, decode_images, quarantined, readable_array, write_images
from pipeline.data.sources.base import Sized
from pipeline.runtime.workers import AHEAD
from tests.data.readers import SIZE, Numbered, source_of

CHUNK = CHUNK_IMAGES[0]
IMAGES = 5 * CHUNK + 7


def rows_of(numbers) -> list[int]:
    return [i % 251 for i in numbers]


def decode(folder: Path, reader, images: int = IMAGES, workers: int = 2):
    folder.mkdir(exist_ok=True)
    return decode_images(source_of(reader, images), folder, SIZE, workers=workers)


@pytest.mark.parametrize("bad", [{}, {0: "torn", 33: "odd", 34: "odd", IMAGES - 1: "empty"}])
def test_one_and_three_workers_write_the_same_bytes(tmp_path, bad):
    reader = Numbered(tmp_path / "log", bad)
    contents = []
    for workers in (1, 3):
        path = tmp_path / str(workers) / "images.npy"
        assert write_images(source_of(reader, IMAGES), path, SIZE, 0.1, workers=workers) == {
            f"s{i}": reason for i, reason in bad.items()
        }
        assert [entry.name for entry in path.parent.iterdir()] == ["images.npy"]
        contents.append(path.read_bytes())
    assert contents[0] == contents[1]
    images = np.load(tmp_path / "1/images.npy")
    good = [i for i in range(IMAGES) if i not in bad]
    assert (images.shape, images.dtype) == ((len(good), SIZE, SIZE, 1), np.uint8)
    assert images.reshape(len(good), -1).tolist() == [[value] * SIZE**2 for value in rows_of(good)]
    assert len(reader.processes()) == 1 + 3


@pytest.mark.slow
def test_spawned_workers_write_the_same(tmp_path, monkeypatch):
    """As where there is no fork that is safe (macOS)."""
    monkeypatch.setattr("pipeline.runtime.workers.START_METHOD", "spawn")
    reader = Numbered(tmp_path / "log")
    decoded = decode(tmp_path / "work", reader)
    assert np.load(decoded.array)[:, 0, 0, 0].tolist() == rows_of(range(IMAGES))
    assert len(reader.processes() - {os.getpid()}) == 2


def test_what_is_reported_of_each_image(tmp_path):
    decoded = decode(tmp_path / "work", Numbered(tmp_path / "log", {2: "torn"}), images=4, workers=1)
    assert decoded.bad == {2: "torn"}
    assert decoded.good.tolist() == [True, True, False, True]
    assert decoded.sizes.tolist() == [[4, 4], [4, 4], [0, 0], [4, 4]]
    assert decoded.hashes[2] == b""
    assert len(set(decoded.hashes.tolist())) == 4
    assert quarantined(decoded, source_of(None, 4)) == {"s2": "torn"}


class Larger(Numbered):
    """A reader without files that knows its images' sizes."""

    def sized(self, i: int) -> tuple[np.ndarray, tuple[int, int]]:
        return self(i), (60, 80)


def test_a_reader_may_know_sizes_and_no_files(tmp_path):
    decoded = decode(tmp_path / "work", Larger(tmp_path / "log", {1: "torn"}), images=3)
    assert decoded.sizes.tolist() == [[60, 80], [0, 0], [60, 80]]


def test_a_killed_run_is_continued(tmp_path):
    """Both processes and parent; what was finished is not decoded again, and the bytes are those of an unbroken run."""
    log, folder = tmp_path / "log", tmp_path / "work"
    folder.mkdir()
    command = [sys.executable, "-m", "tests.data.readers", str(folder), str(log), "900"]
    run = subprocess.Popen(command)
    journal = folder / "journal.jsonl"
    wait_until(lambda: journal.exists() and journal.read_bytes().count(b"\n") >= 4)
    run.send_signal(signal.SIGKILL)
    run.wait()
    workers = Numbered(log).processes()
    assert len(workers) == 2
    wait_until(lambda: not any(is_running(process) for process in workers))

    finished = {
        json.loads(line)["first"] for line in journal.read_bytes().splitlines(keepends=True) if line[-1:] == b"\n"
    }
    assert 4 <= len(finished) < 900 // CHUNK
    again = Numbered(tmp_path / "log of the second run")
    continued = decode(folder, again, 900)
    assert again.asked() == [i for i in range(900) if i - i % CHUNK not in finished]
    unbroken = decode(tmp_path / "unbroken", Numbered(tmp_path / "another log"), 900, workers=1)
    assert continued.array.read_bytes() == unbroken.array.read_bytes()
    assert continued.hashes.tolist() == unbroken.hashes.tolist()
    assert continued.sizes.tolist() == unbroken.sizes.tolist()


def test_a_killed_worker_is_reported_and_the_rest_is_kept(tmp_path):
    killer = Numbered(tmp_path / "log", kills_at=IMAGES - 1, delay=0.001)
    with pytest.raises(UserError, match=r"a worker process was killed.*lower machine\.workers"):
        decode(tmp_path / "work", killer)
    wait_until(lambda: not any(is_running(process) for process in killer.processes()))
    second = Numbered(tmp_path / "second log")
    decoded = decode(tmp_path / "work", second)
    assert IMAGES - 1 in second.asked()
    assert len({i // CHUNK for i in second.asked()}) <= 1 + AHEAD  # what both had at hand
    assert np.load(decoded.array)[:, 0, 0, 0].tolist() == rows_of(range(IMAGES))


def test_a_finished_run_is_kept_but_for_pixels_that_the_disk_lost(tmp_path):
    first = decode(tmp_path / "work", Numbered(tmp_path / "log"))
    expected = first.array.read_bytes()
    with first.array.open("r+b") as stream:
        stream.seek(-SIZE * SIZE, 2)
        stream.write(bytes(SIZE * SIZE))
    reader = Numbered(tmp_path / "second log")
    assert decode(tmp_path / "work", reader).array.read_bytes() == expected
    assert reader.asked() == list(range(5 * CHUNK, IMAGES))


def test_a_torn_line_of_the_journal_counts_for_nothing(tmp_path):
    decode(tmp_path / "work", Numbered(tmp_path / "log"), workers=1)
    journal = tmp_path / "work/journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:3]) + lines[3][:-20])
    reader = Numbered(tmp_path / "second log")
    decode(tmp_path / "work", reader)
    assert reader.asked() == list(range(3 * CHUNK, IMAGES))
    assert sorted(journal.read_bytes().splitlines(keepends=True)) == sorted(lines)


def test_another_number_of_images_starts_afresh(tmp_path):
    decode(tmp_path / "work", Numbered(tmp_path / "log"))
    reader = Numbered(tmp_path / "second log")
    decode(tmp_path / "work", reader, images=40)
    assert reader.asked() == list(range(40))


class Files(Numbered):
    """Images whose files change: image `changed` did."""

    changed = -1

    def sized(self, i: int) -> Sized:
        return Sized(self(i), (60, 80), self.state(i))

    def state(self, i: int) -> str:
        return "new" if i == self.changed else "old"


def test_a_changed_file_is_read_again_with_its_chunk(tmp_path):
    decode(tmp_path / "work", Files(tmp_path / "log"))
    reader = Files(tmp_path / "second log")
    object.__setattr__(reader, "changed", CHUNK + 5)
    decoded = decode(tmp_path / "work", reader)
    assert reader.asked() == list(range(CHUNK, 2 * CHUNK))
    assert decoded.sizes.tolist() == [[60, 80]] * IMAGES


def test_too_many_bad_images_are_an_error_and_leave_nothing(tmp_path):
    source = source_of(Numbered(tmp_path / "log", {3: "torn", 7: "empty"}), 40)
    path = tmp_path / "out/images.npy"
    with pytest.raises(UserError, match=r"2 of 40 images cannot be read.*max_bad_fraction 0\.04.*s3: torn; s7: empty"):
        write_images(source, path, SIZE, 0.04)
    assert list(path.parent.iterdir()) == []
    assert list(write_images(source, path, SIZE, 0.05)) == ["s3", "s7"]


class Faulty(Numbered):
    def __call__(self, i: int) -> np.ndarray:
        return np.zeros((SIZE, SIZE, 3), np.uint8) if i == 50 else super().__call__(i)


def test_a_fault_of_the_program_is_no_bad_image(tmp_path):
    for workers in (1, 2):
        with pytest.raises(ValueError, match="could not broadcast") as caught:
            decode(tmp_path / str(workers), Faulty(tmp_path / "log"), workers=workers)
    assert "chunks.py" in caught.value.__notes__[0]  # where it happened in the worker


def test_a_full_disk_is_reported_before_any_image_is_decoded(tmp_path):
    reader = Numbered(tmp_path / "log")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(UserError, match=r"pixels.npy: the images take 0 MB at data.image_size 4, which the disk"):
            decode(tmp_path / "work", reader)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert reader.asked() == []


def test_readable_rows_are_copied_block_by_block(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.data.array.BLOCK_BYTES", 3 * SIZE * SIZE)
    decoded = decode(tmp_path / "work", Numbered(tmp_path / "log", {0: "torn", 5: "torn"}), images=11, workers=1)
    assert np.load(readable_array(decoded))[:, 0, 0, 0].tolist() == [1, 2, 3, 4, 6, 7, 8, 9, 10]


def is_running(process: int) -> bool:
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until(condition) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
