"""Stage prepare as it is run: what report.json says, and what is left when it is stopped."""

import json
import os
import shutil
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

from pipeline.common import layout as artifacts
from pipeline.common.errors import UserError
from pipeline.common.files import sha256_file
from pipeline.params import file as params_file
from pipeline.params.tree import Params
from pipeline.stages import prepare

CLASSES = ["MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC"]
ROOT = Path(__file__).parents[2]


@pytest.fixture
def lesions(tmp_path, monkeypatch) -> Callable[..., Params]:
    """Write an ISIC folder of flat grey images {name: (grey or None for a broken file, class, lesion, size)}."""
    tree = params_file.read_yaml(Path("params.yaml"))
    monkeypatch.chdir(tmp_path)

    def write(images: dict[str, tuple[int | None, str, str, tuple[int, int]]], **data: object) -> Params:
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
        tree["data"] |= {"source": "isic2019", "path": "data", "max_bad_fraction": 0.2, "workers": 1, **data}
        return params_file.validate(tree, "test")

    return write


SIX = {
    "a": (10, "NV", "l1", (64, 48)),
    "b": (10, "MEL", "l2", (64, 48)),  # the same pixels as a: another lesion, another class
    "c": (None, "NV", "l3", (64, 48)),
    "d": (20, "NV", "l4", (48, 64)),
    "e": (20, "NV", "l5", (100, 100)),  # as d at the prepared size
    "f": (30, "DF", "", (64, 48)),
}
REASON = "not an image file; JPEG, PNG, TIFF, BMP and DICOM can be read"


def test_the_report_tells_sizes_quarantine_and_duplicates(lesions, capsys):
    prepare.run(lesions(SIX))
    report = json.loads(artifacts.DATA_REPORT.read_text())
    hashes = report.pop("hashes")
    assert report.pop("sha256")
    assert hashes["images.npy"] == sha256_file(artifacts.IMAGES)
    assert hashes["samples.csv"] == sha256_file(artifacts.SAMPLES)
    params = report.pop("params")
    assert (params["data.source"], params["data.resize"], params["data.max_images"]) == ("isic2019", "crop", None)
    assert not any(name.startswith(("data.phantom", "data.table", "data.path")) for name in params)
    assert report == {
        "source": "isic2019",
        "task": "multiclass",
        "classes": CLASSES,
        "image_size": 32,
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
    assert np.load(artifacts.IMAGES)[:, 0, 0, 0].tolist() == [10, 10, 20, 20, 30]
    assert artifacts.SAMPLES.read_text().splitlines() == [
        "sample_id,group_id,label", "a,l1,NV", "b,l2,MEL", "d,l4,NV", "e,l5,NV", "f,f,DF",
    ]  # fmt: skip
    assert list(artifacts.RESUME.iterdir()) == []
    told = capsys.readouterr().out
    assert "prepare: 5 images of 5 groups, 1 quarantined" in told
    assert "warning: 2 sets of images have the same pixels but lie in different groups, 1 of them under" in told


def test_the_twenty_most_frequent_sizes_are_listed(lesions):
    images = {f"i{n}": (n, "NV", f"l{n}", (40 + n // 2, 40)) for n in range(47)}
    prepare.run(lesions(images))
    report = json.loads(artifacts.DATA_REPORT.read_text())
    assert report["sizes"] == [{"height": 40, "width": 40 + n, "images": 2} for n in range(20)]
    assert report["other_sizes"] == 4


def test_the_same_bytes_for_any_number_of_workers(lesions):
    images = {f"i{n}": (n, "NV", f"l{n}", (40, 40 + n)) for n in range(100)}
    written = []
    for workers in (1, 3):
        prepare.run(lesions(images, workers=workers))
        written.append([path.read_bytes() for path in (artifacts.IMAGES, artifacts.SAMPLES, artifacts.DATA_REPORT)])
    assert written[0] == written[1]


def test_too_many_broken_images_leave_what_was_done_for_the_next_run(lesions):
    settings = lesions(SIX, max_bad_fraction=0.1)
    with pytest.raises(UserError, match=r"1 of 6 images cannot be read.*All are listed in artifacts/resume/prepare-"):
        prepare.run(settings)
    assert list(artifacts.IMAGES.parent.iterdir()) == []
    (folder,) = artifacts.RESUME.iterdir()
    assert json.loads((folder / "unreadable.json").read_text()) == {"c": REASON}
    Image.new("L", (64, 48), 15).save("data/ISIC_2019_Training_Input/c.png")
    prepare.run(settings)
    assert np.load(artifacts.IMAGES)[:, 0, 0, 0].tolist() == [10, 10, 15, 20, 20, 30]
    assert list(artifacts.RESUME.iterdir()) == []


def test_leftovers_of_other_settings_go(lesions):
    for image_size in (32, 48):
        with pytest.raises(UserError):
            prepare.run(lesions(SIX, max_bad_fraction=0.1, image_size=image_size))
        assert len(list(artifacts.RESUME.glob("prepare-*"))) == 1


@pytest.fixture
def read_only(tmp_path) -> Iterator[Path]:
    """A folder artifacts/data that the user may not write."""
    tmp_path.chmod(0o755)
    folder = tmp_path / artifacts.IMAGES.parent
    folder.mkdir(parents=True)
    folder.chmod(0o555)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    yield folder
    if root:
        os.seteuid(0)


def test_a_read_only_folder_is_told_before_any_image_is_read(lesions, read_only):
    settings = params_file.validate(params_file.read_yaml(ROOT / "params.yaml"), "test")
    with pytest.raises(UserError, match=r"artifacts/data: cannot be written \(Permission denied\).*writable"):
        prepare.run(settings)


@pytest.fixture
def project(tmp_path) -> Path:
    """A folder in which the stage runs on a phantom that takes seconds."""
    for name in ("models", "pipeline"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    text = (ROOT / "params.yaml").read_text()
    for old, new in {
        "images: 1600": "images: 256",
        "workers: 0": "workers: 2",
    }.items():
        assert text.count(old) == 1
        text = text.replace(old, new)
    (tmp_path / "params.yaml").write_text(text)
    return tmp_path


def start(project: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "pipeline.stages", "prepare"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    heard = signal.signal(signal.SIGINT, signal.default_int_handler)  # under nohup or `&` the shell ignores Ctrl-C
    try:
        return subprocess.Popen(command, cwd=project, start_new_session=True, **pipes)
    finally:
        signal.signal(signal.SIGINT, heard)


def journal_lines(project: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in project.glob("artifacts/resume/prepare-*/journal.jsonl"))


@pytest.mark.slow
def test_ctrl_c_says_what_is_kept_and_the_next_run_goes_on(project):
    run = start(project)
    end = time.monotonic() + 60
    while journal_lines(project) < 1:
        assert time.monotonic() < end
        assert run.poll() is None
        time.sleep(0.01)
    os.killpg(run.pid, signal.SIGINT)  # as a terminal does: parent and workers get it
    told, _ = run.communicate(timeout=30)
    assert run.returncode != 0
    assert "prepare: stopped; what is finished is kept, the next run goes on from there" in told
    assert "Traceback" not in told
    assert len(told.splitlines()) < 6
    kept = journal_lines(project)
    assert 1 <= kept < 16
    assert not list((project / "artifacts/data").iterdir())

    again = start(project)
    told, _ = again.communicate(timeout=120)
    assert again.returncode == 0, told
    assert f"going on from an earlier run; checking its {16 * kept} finished images" in told
    assert not list((project / "artifacts/resume").iterdir())
    images = sha256_file(project / artifacts.IMAGES)
    shutil.rmtree(project / "artifacts")
    unbroken = start(project)
    told, _ = unbroken.communicate(timeout=120)
    assert unbroken.returncode == 0, told
    assert sha256_file(project / artifacts.IMAGES) == images
