"""The feed: every reader brings the same images, a reading thread never outlives its pass, and the order is fixed."""

import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from models.inference import Images, PlainImages
from pipeline.common.errors import UserError
from pipeline.training import feed
from pipeline.training.feed import (
    AHEAD,
    PrefetchedImages,
    ResidentImages,
    epoch_batches,
    open_images,
    share,
    steps_of_epoch,
)

CPU = torch.device("cpu")
ROWS = np.array([7, 2, 9, 4, 0, 11, 5])
READERS = ["plain", "resident", "prefetched"]


@pytest.fixture
def stored(tmp_path: Path) -> np.ndarray:
    """A memory map of twelve images, each of one value."""
    images = np.arange(12, dtype=np.uint8)[:, None, None, None] * np.ones((1, 3, 2, 1), dtype=np.uint8)
    np.save(tmp_path / "images.npy", images)
    return np.load(tmp_path / "images.npy", mmap_mode="r")


def opened(kind: str, images: np.ndarray, device: torch.device = CPU) -> Images:
    if kind == "resident":
        return ResidentImages(images, ROWS, device)
    return PlainImages(images, device) if kind == "plain" else PrefetchedImages(images, device)


def reading_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("prefetch")]


@pytest.mark.parametrize("kind", READERS)
def test_every_reader_brings_the_rows_in_the_order_asked_for(kind, stored):
    batches = [np.array([9, 2, 2]), np.array([11]), np.array([0, 7, 5, 4]), np.array([9, 2])]
    reader = opened(kind, stored)
    assert reader.shape == (12, 3, 2, 1)
    for _ in range(2):  # a reader serves many passes
        blocks = list(reader.read(batches))
        assert [block[:, 0, 0, 0].tolist() for block in blocks] == [rows.tolist() for rows in batches]
        assert all(block.dtype == torch.uint8 and block.shape[1:] == (3, 2, 1) for block in blocks)
    assert reading_threads() == []


def test_a_resident_set_does_not_answer_for_other_rows(stored):
    with pytest.raises(ValueError, match="not put on the device"):
        list(opened("resident", stored).read([np.array([7]), np.array([1])]))


class Counted:
    """An array whose reads are counted and fail from the third on."""

    def __init__(self, breaks: bool) -> None:
        self.shape, self.breaks, self.reads = (12, 1, 1, 1), breaks, 0

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        self.reads += 1
        if self.breaks and self.reads >= 3:
            raise OSError("images.npy: Input/output error")
        return np.zeros((len(rows), 1, 1, 1), dtype=np.uint8)


def test_an_error_of_the_reading_thread_is_raised_where_its_batch_is_asked_for():
    blocks = PrefetchedImages(Counted(breaks=True), CPU).read([ROWS] * 9)  # type: ignore[arg-type]
    assert [len(next(blocks)), len(next(blocks))] == [7, 7]
    with pytest.raises(OSError, match=r"images\.npy: Input/output error"):
        next(blocks)
    assert reading_threads() == []


def test_the_thread_reads_a_few_batches_ahead_and_ends_with_an_abandoned_pass():
    images = Counted(breaks=False)
    blocks = PrefetchedImages(images, CPU).read([ROWS] * 50)  # type: ignore[arg-type]
    assert images.reads == 0
    next(blocks)
    assert reading_threads() != []
    blocks.close()
    assert reading_threads() == []
    assert 1 <= images.reads <= AHEAD + 1


def test_an_epoch_is_a_permutation_in_batches_that_differ_by_one_sample_at_most():
    batches = epoch_batches(2178, 64, seed=0, epoch=0)  # 34 * 64 + 2: a batch of two made ResNet-50 diverge
    assert [len(batch) for batch in batches] == [63] * 8 + [62] * 27
    assert sorted(np.concatenate(batches)) == list(range(2178))
    assert [len(batch) for batch in epoch_batches(25, 10, seed=0, epoch=0)] == [9, 8, 8]
    assert [len(batch) for batch in epoch_batches(20, 10, seed=0, epoch=0)] == [10, 10]
    assert [len(batch) for batch in epoch_batches(5, 10, seed=0, epoch=0)] == [5]
    assert [len(batch) for batch in epoch_batches(3, 2, seed=0, epoch=0)] == [3]  # none of a single sample
    batches = epoch_batches(45, 11, seed=0, epoch=0)
    again, later = epoch_batches(45, 11, seed=0, epoch=0), epoch_batches(45, 11, seed=0, epoch=1)
    assert all((first == second).all() for first, second in zip(batches, again, strict=True))
    assert (np.concatenate(batches) != np.concatenate(later)).any()


def test_with_a_number_of_steps_pass_follows_pass_across_the_epochs():
    """20 samples in batches of 10 are two steps a pass; epochs of five steps."""
    plain = [(number, batch) for number in range(5) for batch in epoch_batches(20, 10, seed=0, epoch=number)]
    drawn = [one for epoch in range(2) for one in steps_of_epoch(20, 10, seed=0, epoch=epoch, steps=5)]
    assert [number for number, _ in drawn] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert all(np.array_equal(batch, expected) for (_, batch), (_, expected) in zip(drawn, plain, strict=True))


def test_as_many_steps_as_a_pass_has_are_an_epoch():
    for steps in (None, 3):
        drawn = steps_of_epoch(25, 10, seed=0, epoch=4, steps=steps)
        assert [number for number, _ in drawn] == [4, 4, 4]
        for (_, batch), expected in zip(drawn, epoch_batches(25, 10, seed=0, epoch=4), strict=True):
            assert np.array_equal(batch, expected)


@pytest.mark.parametrize("world", [1, 2, 3, 4])
def test_the_shares_of_all_processes_are_the_batch(world):
    batches = epoch_batches(45, 12, seed=0, epoch=0)
    shares = [share(batches, rank, world) for rank in range(world)]
    for number, batch in enumerate(batches):
        pieces = [shares[rank][number] for rank in range(world)]
        assert np.concatenate(pieces).tolist() == batch.tolist()
        assert max(map(len, pieces)) - min(map(len, pieces)) <= 1


def on_a_gpu(monkeypatch: pytest.MonkeyPatch, free: int, full: bool = False) -> None:
    """Let `open_images` believe in a GPU with `free` bytes."""

    def resident(images: np.ndarray, rows: np.ndarray, device: torch.device) -> str:
        if full:
            raise torch.OutOfMemoryError
        return "resident"

    monkeypatch.setattr(feed, "free_memory", lambda device: free)
    monkeypatch.setattr(feed, "ResidentImages", resident)
    monkeypatch.setattr(feed, "PrefetchedImages", lambda images, device: "prefetched")


@pytest.mark.parametrize(
    ("wish", "free", "expected"),
    [
        ("auto", 168, "resident"),  # seven images of six bytes are a quarter of it
        ("auto", 167, "prefetched"),
        (True, 42, "resident"),
        (False, 10**9, "prefetched"),
    ],
)
def test_images_live_on_the_gpu_where_they_take_a_quarter_of_what_is_free(wish, free, expected, stored, monkeypatch):
    on_a_gpu(monkeypatch, free)
    assert open_images(stored, ROWS, torch.device("cuda"), wish) == expected


def test_a_gpu_that_is_too_small_is_reported_with_the_way_out(stored, monkeypatch):
    on_a_gpu(monkeypatch, 10, full=True)
    with pytest.raises(UserError, match=r"machine\.data_on_device is true, but 7 images take .* set it to false"):
        open_images(stored, ROWS, torch.device("cuda"), True)


@pytest.mark.parametrize("wish", ["auto", True, False])
def test_a_cpu_reads_plainly_whatever_is_wished(wish, stored):
    assert isinstance(open_images(stored, ROWS, CPU, wish), PlainImages)


@pytest.mark.gpu
@pytest.mark.parametrize("kind", READERS)
def test_a_gpu_gets_what_the_array_holds(kind, tmp_path):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    images = np.random.default_rng(0).integers(0, 256, (400, 64, 64, 3), dtype=np.uint8)
    rows = np.random.default_rng(1).permutation(400)
    batches = np.array_split(rows, 40)
    device = torch.device("cuda", torch.cuda.current_device())
    reader = ResidentImages(images, rows, device) if kind == "resident" else opened(kind, images, device)
    sums = [block.to(torch.int64).sum() for block in reader.read(batches)]  # memory is reused while the device works
    assert torch.stack(sums).tolist() == [int(images[part].sum()) for part in batches]
