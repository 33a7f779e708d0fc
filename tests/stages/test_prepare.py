"""Stage prepare as it is run: what report.json says, and what is left when it is stopped."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipeline.common.errors import UserError
from pipeline.common.files import sha256_file
from pipeline.common.layout import Layout
from pipeline.params.file import load
from pipeline.params.tree import Params
from pipeline.stages import prepare

CLASSES = ["MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC"]
ROOT = Path(__file__).parents[2]


@pytest.fixture
def layout(tmp_path) -> Layout:
    return Layout(tmp_path / "artifacts")


@pytest.fixture
def lesions(tmp_path, make_params) -> Callable[..., Params]:
    """Write an ISIC folder of flat grey images {name: (grey or None for a broken file, class, lesion, size)}."""

    def write(
        images: dict[str, tuple[int | None, str, str, tuple[int, int]]], workers: int = 1, **data: object
    ) -> Params:
        folder = tmp_path / "data/ISIC_2019_Training_Input"
        folder.mkdir(parents=True, exist_ok=True)
        for name, (grey, _, _, size) in images.items():
            if grey is None:
                (folder / f"{name}.png").write_bytes(b"broken")
            else:
                Image.new("L", size, grey).save(folder / f"{name}.png")
        truth = pd.DataFrame(0, index=list(images), columns=CLASSES)
        for name, (_, label, _, _) in images.items():
            truth.loc[name, label] = 1
        truth.to_csv(tmp_path / "data/ISIC_2019_Training_GroundTruth.csv", index_label="image")
        lesion = {"image": list(images), "lesion_id": [group for _, _, group, _ in images.values()]}
        pd.DataFrame(lesion).to_csv(tmp_path / "data/ISIC_2019_Training_Metadata.csv", index=False)
        data = {"source": "isic2019", "path": str(tmp_path / "data"), "max_bad_fraction": 0.2} | data
        return make_params(data=data, machine={"workers": workers})

    return write


def leftovers(layout: Layout) -> list[Path]:
    """What unfinished runs keep for the next one."""
    return list((layout.store / "images").iterdir())


SIX = {
    "a": (10, "NV", "l1", (64, 48)),
    "b": (10, "MEL", "l2", (64, 48)),  # the same pixels as a: another lesion, another class
    "c": (None, "NV", "l3", (64, 48)),
    "d": (20, "NV", "l4", (48, 64)),
    "e": (20, "NV", "l5", (100, 100)),  # as d at the prepared size
    "f": (30, "DF", "", (64, 48)),
}
REASON = "not an image file; JPEG, PNG, TIFF, BMP and DICOM can be read"


def test_the_report_has_sizes_quarantine_and_duplicates(lesions, layout, capsys):
    prepare.run(lesions(SIX), layout)
    report = json.loads(layout.data_report.read_text())
    hashes = report.pop("hashes")
    assert report.pop("sha256")
    assert hashes["images.npy"] == sha256_file(layout.images)
    assert hashes["samples.csv"] == sha256_file(layout.samples)
    params = report.pop("params")
    assert (params["data.source"], params["data.resize"], params["data.max_images"]) == ("isic2019", "crop", None)
    assert not any(name.startswith(("data.phantom", "data.table", "data.path")) for name in params)
    assert report == {
        "source": "isic2019",
        "task": "multiclass",
        "classes": CLASSES,
        "image_size": 64,
        "channels": 3,
        "images": 5,
        "groups": 5,
        "counts": {"MEL": 1, "NV": 3, "BCC": 0, "AK": 0, "BKL": 0, "DF": 1, "VASC": 0, "SCC": 0},
        "without_label": 0,
        "sizes": [
            {"height": 48, "width": 64, "images": 3},
            {"height": 64, "width": 48, "images": 1},
            {"height": 100, "width": 100, "images": 1},
        ],
        "other_sizes": 0,
        "quarantined": {"c": REASON},
        "duplicate_sets": 2,
        "conflicting_sets": 1,
        "duplicates": [
            {"images": 2, "samples": ["a", "b"], "groups": ["l1", "l2"], "labels": ["NV", "MEL"], "conflicting": True},
            {"images": 2, "samples": ["d", "e"], "groups": ["l4", "l5"], "labels": ["NV", "NV"], "conflicting": False},
        ],
    }
    assert np.load(layout.images)[:, 0, 0, 0].tolist() == [10, 10, 20, 20, 30]
    assert layout.samples.read_text().splitlines() == [
        "sample_id,group_id,label", "a,l1,NV", "b,l2,MEL", "d,l4,NV", "e,l5,NV", "f,f,DF",
    ]  # fmt: skip
    assert leftovers(layout) == []
    printed = capsys.readouterr().out
    assert "prepare: 5 images of 5 groups, 1 quarantined" in printed
    assert "warning: 2 sets of images have the same pixels but belong to different groups, 1 of them under" in printed


def test_the_twenty_most_frequent_sizes_are_listed(lesions, layout):
    images = {f"i{n}": (n, "NV", f"l{n}", (40 + n // 2, 40)) for n in range(47)}
    prepare.run(lesions(images), layout)
    report = json.loads(layout.data_report.read_text())
    assert report["sizes"] == [{"height": 40, "width": 40 + n, "images": 2} for n in range(20)]
    assert report["other_sizes"] == 4


def test_the_same_bytes_for_any_number_of_workers(lesions, layout):
    images = {f"i{n}": (n, "NV", f"l{n}", (40, 40 + n)) for n in range(100)}
    written = []
    for workers in (1, 3):
        prepare.run(lesions(images, workers=workers), layout)
        written.append([path.read_bytes() for path in (layout.images, layout.samples, layout.data_report)])
    assert written[0] == written[1]


def test_too_many_broken_images_leave_what_was_done_for_the_next_run(lesions, layout, tmp_path):
    settings = lesions(SIX, max_bad_fraction=0.1)
    with pytest.raises(UserError, match=r"1 of 6 images cannot be read.*All are listed in .*/artifacts/store/images/"):
        prepare.run(settings, layout)
    assert list(layout.images.parent.iterdir()) == []
    (folder,) = leftovers(layout)
    assert json.loads((folder / "unreadable.json").read_text()) == {"c": REASON}
    Image.new("L", (64, 48), 15).save(tmp_path / "data/ISIC_2019_Training_Input/c.png")
    prepare.run(settings, layout)
    assert np.load(layout.images)[:, 0, 0, 0].tolist() == [10, 10, 15, 20, 20, 30]
    assert leftovers(layout) == []


def test_leftovers_of_other_settings_go(lesions, layout):
    met = []
    for image_size in (32, 48):
        with pytest.raises(UserError, match="1 of 6 images cannot be read"):
            prepare.run(lesions(SIX, max_bad_fraction=0.1, image_size=image_size), layout)
        (folder,) = leftovers(layout)
        met.append(folder)
    assert met[0] != met[1]
    assert not met[0].exists()


@pytest.fixture
def read_only(tmp_path, layout) -> Iterator[Path]:
    """A folder artifacts/data that the user may not write."""
    tmp_path.chmod(0o755)
    folder = layout.images.parent
    folder.mkdir(parents=True)
    folder.chmod(0o555)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    yield folder
    if root:
        os.seteuid(0)


def test_a_read_only_folder_is_reported_before_any_image_is_read(make_params, layout, read_only):
    params = make_params(data={"source": "isic2019", "path": "nowhere"})
    with pytest.raises(UserError, match=r"artifacts/data: cannot be written \(Permission denied\).*writable"):
        prepare.run(params, layout)


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A folder, and the current one, in which the stage runs on a phantom that takes seconds."""
    text = (ROOT / "params.yaml").read_text()
    for old, new in {
        "images: 2000": "images: 256",
        "image_size: 64": "image_size: 32",
        "workers: 0": "workers: 2",
        "path: pipeline/data/phantom.py": f"path: {ROOT}/pipeline/data/phantom.py",
    }.items():
        assert text.count(old) == 1
        text = text.replace(old, new)
    (tmp_path / "params.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def start() -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "pipeline.stages", "prepare"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    heard = signal.signal(signal.SIGINT, signal.default_int_handler)  # under nohup or `&` the shell ignores Ctrl-C
    try:
        return subprocess.Popen(command, env=environment, start_new_session=True, **pipes)
    finally:
        signal.signal(signal.SIGINT, heard)


def journal_lines(layout: Layout) -> int:
    return sum(path.read_bytes().count(b"\n") for path in layout.store.glob("images/.*/journal.jsonl"))


def test_ctrl_c_says_what_is_kept_and_the_next_run_continues(project, layout, capsys):
    run = start()
    end = time.monotonic() + 60
    while journal_lines(layout) < 1:
        assert time.monotonic() < end
        assert run.poll() is None
        time.sleep(0.01)
    os.killpg(run.pid, signal.SIGINT)  # as a terminal does: parent and workers get it
    printed, _ = run.communicate(timeout=30)
    assert run.returncode != 0
    assert "prepare: stopped; what is finished is kept, the next run continues from there" in printed
    assert "Traceback" not in printed
    assert len(printed.splitlines()) < 6
    kept = journal_lines(layout)
    assert 1 <= kept < 16
    assert not list(layout.images.parent.iterdir())

    prepare.run(load(), layout)
    assert f"continuing from an earlier run; checking its {16 * kept} finished images" in capsys.readouterr().out
    assert leftovers(layout) == []
    unbroken = Layout(project / "unbroken")
    prepare.run(load(), unbroken)
    assert "earlier run" not in capsys.readouterr().out
    for path, expected in ((layout.images, unbroken.images), (layout.data_report, unbroken.data_report)):
        assert path.read_bytes() == expected.read_bytes()
