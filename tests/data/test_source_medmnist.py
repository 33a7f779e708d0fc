"""MedMNIST's files, on small ones of their form: labels, splits, pixels, downloads, and what is refused."""

import functools
import hashlib
import http.server
import io
import pickle
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.common.errors import UserError
from pipeline.data.sources import medmnist, open_source
from pipeline.data.sources.medmnist_members import MEMBERS
from pipeline.params.tree import Params

COUNTS = {"train": 5, "val": 2, "test": 3}


@pytest.fixture
def params_of(preset_params) -> Callable[..., Params]:
    """Return a function that gives the parameters which read a folder of MedMNIST's files; `member`: which of them."""

    def make(path: Path, task: str = "multiclass", pixels: int = 32, **member: object) -> Params:
        data = {"path": str(path), "image_size": pixels, "medmnist": member}
        return preset_params("medmnist", task=task, noise={"kind": "none"}, data=data)

    return make


def arrays(size: int = 28, channels: int = 3, classes: int = 7) -> dict[str, np.ndarray]:
    """Images whose grey level counts on over the splits, labels that count on over the classes, (n, 1)."""
    made, level = {}, 0
    for split, count in COUNTS.items():
        levels = np.arange(level, level + count, dtype=np.uint8)
        shape = (count, size, size, 3) if channels == 3 else (count, size, size)
        made[f"{split}_images"] = np.broadcast_to(levels.reshape(-1, *[1] * (len(shape) - 1)), shape).copy()
        made[f"{split}_labels"] = (levels % classes).astype(np.uint8)[:, None]
        level += count
    return made


def pixels_of(source, tmp_path) -> list[np.ndarray]:
    read = pickle.loads(pickle.dumps(source.open_images(tmp_path / "scratch")))  # as it goes to another process
    return [read(i) for i in range(len(source.samples))]


def test_members_are_those_of_the_package():
    assert {name: len(member.classes) for name, member in MEMBERS.items()} == {
        "pathmnist": 9, "chestmnist": 14, "dermamnist": 7, "octmnist": 4, "pneumoniamnist": 2, "retinamnist": 5,
        "breastmnist": 2, "bloodmnist": 8, "tissuemnist": 8, "organamnist": 11, "organcmnist": 11, "organsmnist": 11,
    }  # fmt: skip
    assert [name for name, member in MEMBERS.items() if member.task == "multilabel"] == ["chestmnist"]
    sums = [md5 for member in MEMBERS.values() for md5 in member.md5.values()]
    assert len(set(sums)) == 48
    assert {len(md5) for md5 in sums} == {32}
    assert not any("|" in name for member in MEMBERS.values() for name in member.classes)


def test_a_coloured_member_with_one_class_per_image(tmp_path, params_of):
    np.savez_compressed(tmp_path / "dermamnist.npz", **arrays())
    source = open_source(params_of(tmp_path))
    assert source.channels == 3
    assert source.classes[4:] == ("melanoma", "melanocytic nevi", "vascular lesions")
    names = ["train_000000", "train_000001", "train_000002", "train_000003", "train_000004", "val_000000",
             "val_000001", "test_000000", "test_000001", "test_000002"]  # fmt: skip
    assert source.samples["sample_id"].tolist() == names
    assert source.samples["group_id"].tolist() == names
    assert source.samples["source_split"].tolist() == ["train"] * 5 + ["val"] * 2 + ["test"] * 3
    assert source.samples["label"].tolist() == [source.classes[i % 7] for i in range(10)]
    assert source.tables == (tmp_path / "dermamnist.npz",)
    images = pixels_of(source, tmp_path)
    assert {image.shape for image in images} == {(32, 32, 3)}
    assert [image.min() for image in images] == [image.max() for image in images] == list(range(10))
    assert [path.name for path in (tmp_path / "scratch").iterdir()] == ["dermamnist.raw"]
    assert source.open_images(tmp_path / "scratch").sized(3)[1] == (28, 28)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_grey_member_with_several_findings_keeps_every_pixel(tmp_path, save, order, params_of):
    rng = np.random.default_rng(0)
    made = {}
    for split, count in COUNTS.items():
        made[f"{split}_images"] = np.asarray(rng.integers(0, 256, (count, 64, 64), dtype=np.uint8), order=order)
        made[f"{split}_labels"] = np.zeros((count, 14), dtype=np.int64)
    made["val_labels"][1, [13, 0, 4]] = 1
    save(tmp_path / "chestmnist_64.npz", **made)
    source = open_source(params_of(tmp_path, "multilabel", 64, dataset="chestmnist", size=64))
    assert source.channels == 1
    assert source.samples["label"].tolist() == [""] * 6 + ["atelectasis|mass|hernia"] + [""] * 3
    stored = np.concatenate([made[f"{split}_images"] for split in COUNTS])
    np.testing.assert_array_equal(np.stack(pixels_of(source, tmp_path)), stored[..., None])


def test_class_names_with_commas_and_grades_stay_as_they_are(tmp_path, params_of):
    np.savez(tmp_path / "breastmnist.npz", **arrays(channels=1, classes=2))
    np.savez(tmp_path / "retinamnist.npz", **arrays(classes=5))
    breast = open_source(params_of(tmp_path, dataset="breastmnist"))
    assert breast.samples["label"].tolist() == ["malignant", "normal, benign"] * 5
    assert open_source(params_of(tmp_path, dataset="retinamnist")).samples["label"].tolist() == list("0123401234")


def test_memory_stays_flat_over_a_large_file(tmp_path, params_of):
    count = 2000
    made = {f"{split}_images": np.zeros((1, 128, 128), np.uint8) for split in COUNTS}
    made["train_images"] = np.zeros((count, 128, 128), np.uint8)  # 33 MB
    made |= {f"{split}_labels": np.zeros((len(made[f"{split}_images"]), 1), np.uint8) for split in COUNTS}
    np.savez_compressed(tmp_path / "octmnist_128.npz", **made)
    loaded = params_of(tmp_path, dataset="octmnist", size=128)
    tracemalloc.start()
    source = open_source(loaded)
    read = source.open_images(tmp_path / "scratch")
    total = sum(int(read(i).sum()) for i in range(0, count, 10))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == 0
    assert peak < 8e6


def test_a_task_that_does_not_fit_is_reported(tmp_path, params_of):
    with pytest.raises(
        UserError, match="task is multilabel, but dermamnist of MedMNIST is multiclass; set task to mul"
    ):
        open_source(params_of(tmp_path, "multilabel"))
    with pytest.raises(UserError, match="task is multiclass, but chestmnist of MedMNIST is multilabel"):
        open_source(params_of(tmp_path, dataset="chestmnist"))


def test_an_unknown_member_is_reported(tmp_path, params_of):
    with pytest.raises(UserError, match=r"dataset is 'dermanist'.* did you mean dermamnist\?"):
        open_source(params_of(tmp_path, dataset="dermanist"))
    with pytest.raises(UserError, match="the 2-D members are pathmnist, chestmnist, dermamnist, octmnist"):
        open_source(params_of(tmp_path, dataset="isic"))


def test_a_missing_file_is_reported_and_not_fetched(tmp_path, monkeypatch, params_of):
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: pytest.fail("the network was used"))
    with pytest.raises(UserError, match=r"dermamnist_64\.npz: no such file\..* or set data\.medmnist\.download: true"):
        open_source(params_of(tmp_path, size=64))
    with pytest.raises(UserError, match=r"no such folder\. It should hold dermamnist\.npz .*download: true"):
        open_source(params_of(tmp_path / "nowhere"))


def broken(**changes: object) -> bytes:
    """The bytes of dermamnist.npz with arrays changed, or left out where the change is None."""
    stream = io.BytesIO()
    np.savez(stream, **{name: array for name, array in (arrays() | changes).items() if array is not None})
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not a zip", r"dermamnist\.npz: cannot be read as \.npz, it may be damaged or cut off .*fetch it again"),
        (broken()[:-200], "cannot be read as .npz"),
        (broken(val_labels=None, test_images=None), "holds no array val_labels, test_images; a file of MedMNIST has"),
        (broken(val_labels=np.array([[0], [7]])), r"val_labels, row 1, column 0: 7 is none of 0 to 6"),
        (broken(val_labels=np.array([[0.0], [np.nan]])), r"val_labels, row 1, column 0: nan is none of 0 to 6"),
        (broken(val_labels=np.array([[0]])), r"val_labels has the shape \(1, 1\), wanted is \(2, 1\)"),
        (broken(val_labels=np.array([[0], [None]])), "cannot be read as .npz"),
        (
            broken(val_images=np.zeros((2, 64, 64, 3), np.uint8)),
            r"val_images is uint8 \(2, 64, 64, 3\); for data\.medm",
        ),
        (broken(val_images=np.zeros((2, 28, 28, 3))), r"val_images is float64 \(2, 28, 28, 3\); for .* it is uint8"),
        (broken(val_images=np.zeros((2, 28, 28), np.uint8)), "grey in one split and coloured in another"),
    ],
)
def test_a_file_that_is_not_what_it_should_be_is_reported(tmp_path, content, message, params_of):
    (tmp_path / "dermamnist.npz").write_bytes(content)
    with pytest.raises(UserError, match=message):
        open_source(params_of(tmp_path))


def test_damage_among_the_pixels_is_reported_and_leaves_nothing(tmp_path, params_of):
    content = bytearray(broken())
    place = content.index(b"train_images.npy") + 5000
    content[place] ^= 1
    (tmp_path / "dermamnist.npz").write_bytes(content)
    source = open_source(params_of(tmp_path))
    with pytest.raises(UserError, match=r"dermamnist\.npz: cannot be read as \.npz.*CRC-32"):
        source.open_images(tmp_path / "scratch")
    assert list((tmp_path / "scratch").iterdir()) == []


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A server of this machine in the place of Zenodo; yields the folder that it serves."""
    folder = tmp_path / "published"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setattr(medmnist, "RECORD", f"http://127.0.0.1:{server.server_port}")
    yield folder
    server.shutdown()
    server.server_close()


def test_a_missing_file_is_fetched_once_where_that_is_asked_for(published, tmp_path, monkeypatch, params_of):
    content = broken()
    (published / "dermamnist.npz").write_bytes(content)
    monkeypatch.setitem(MEMBERS["dermamnist"].md5, 28, hashlib.md5(content).hexdigest())
    source = open_source(params_of(tmp_path / "new", download=True))
    assert len(source.samples) == 10
    assert (tmp_path / "new" / "dermamnist.npz").read_bytes() == content
    (published / "dermamnist.npz").unlink()
    assert len(open_source(params_of(tmp_path / "new", download=True)).samples) == 10


def test_a_download_with_another_checksum_is_not_kept(published, tmp_path, params_of):
    (published / "dermamnist.npz").write_bytes(broken())
    with pytest.raises(UserError, match="published file has 0744692d530f8e62ec473284d019b0c7; nothing was kept"):
        open_source(params_of(tmp_path / "new", download=True))
    assert list((tmp_path / "new").iterdir()) == []


def test_a_download_that_fails_is_reported(published, tmp_path, params_of):
    with pytest.raises(UserError, match=r"fetching http.*dermamnist\.npz\?download=1 failed: HTTP Error 404"):
        open_source(params_of(tmp_path / "new", download=True))
    assert list((tmp_path / "new").iterdir()) == []
