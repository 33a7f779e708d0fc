"""The readers of the official layouts, on small copies of them and, where at hand, on real images."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipeline.common.errors import UserError
from pipeline.data.array import write_images
from pipeline.data.sources import open_source

REAL = Path("../shared/data").resolve()
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason="no folder ../shared/data with real images beside the clone")


@pytest.fixture
def nih(tmp_path) -> Path:
    """Four films in the official layout, over two of its image folders."""
    rows = [
        ("00000001_000.png", "Cardiomegaly|Emphysema", 1, "images_001"),
        ("00000001_001.png", "No Finding", 1, "images_001"),
        ("00000002_000.png", "Effusion|Mass", 2, "images_002"),
        ("00000003_000.png", "Hernia", 3, "images_002"),
    ]
    for number, (name, _, _, folder) in enumerate(rows):
        (tmp_path / folder / "images").mkdir(parents=True, exist_ok=True)
        mode = "RGBA" if number == 2 else "L"
        colour = (100, 100, 100, 255) if number == 2 else 10 * number
        Image.new(mode, (64, 64), colour).save(tmp_path / folder / "images" / name)
    table = pd.DataFrame(rows, columns=["Image Index", "Finding Labels", "Patient ID", "folder"])
    table.drop(columns="folder").to_csv(tmp_path / "Data_Entry_2017_v2020.csv", index=False)
    (tmp_path / "test_list.txt").write_text("00000003_000.png\n")
    (tmp_path / "train_val_list.txt").write_text("\n".join(name for name, *_ in rows[:3]))
    return tmp_path


def test_nih_findings_patients_and_official_list(nih, tmp_path, preset_params):
    source = open_source(preset_params("cardio-small", data={"path": str(nih)}))
    assert source.channels == 1
    assert source.classes == (
        "Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax",
    )  # fmt: skip
    assert source.samples.to_dict("list") == {
        "sample_id": ["00000001_000.png", "00000001_001.png", "00000002_000.png", "00000003_000.png"],
        "group_id": ["patient_1", "patient_1", "patient_2", "patient_3"],
        "label": ["Cardiomegaly", "", "Effusion|Mass", ""],
        "source_split": ["train_val", "train_val", "train_val", "test"],
    }
    read = source.open_images(tmp_path)
    assert [int(read(i)[0, 0, 0]) for i in range(4)] == [0, 10, 100, 30]
    assert read(2).shape == (32, 32, 1)


def test_an_unknown_finding_is_reported_with_its_row(nih, preset_params):
    table = nih / "Data_Entry_2017_v2020.csv"
    table.write_text(table.read_text().replace("Hernia", "Hernai"))
    with pytest.raises(UserError, match=r"data row 4, column Finding Labels: unknown finding 'Hernai'"):
        open_source(preset_params("cardio-small", data={"path": str(nih)}))


def test_a_blank_patient_is_reported_with_its_row(nih, preset_params):
    table = nih / "Data_Entry_2017_v2020.csv"
    table.write_text(table.read_text().replace("Effusion|Mass,2", "Effusion|Mass,"))
    with pytest.raises(UserError, match="data row 3, column Patient ID is blank"):
        open_source(preset_params("cardio-small", data={"path": str(nih)}))


def test_a_film_named_twice_is_reported(nih, preset_params):
    table = nih / "Data_Entry_2017_v2020.csv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join([*lines, lines[1]]))
    with pytest.raises(UserError, match=r"data row 5, column Image Index: .00000001_000\.png. is duplicated"):
        open_source(preset_params("cardio-small", data={"path": str(nih)}))


def test_broken_images_are_counted_and_left_out_or_refused(nih, tmp_path, preset_params):
    (nih / "images_001/images/00000001_001.png").write_bytes(b"not an image")
    source = open_source(preset_params("cardio-small", data={"path": str(nih)}))
    target = tmp_path / "out/images.npy"
    bad = write_images(source, target, 32, 0.25)
    assert list(bad) == ["00000001_001.png"]
    images = np.load(target)
    assert images[:, 0, 0, 0].tolist() == [0, 100, 30]
    target.unlink()
    with pytest.raises(UserError, match=r"1 of 4 images cannot be read.*max_bad_fraction 0\.1"):
        write_images(source, target, 32, 0.1)
    assert list(target.parent.iterdir()) == []


@needs_real
def test_the_real_lesions_are_read(tmp_path, preset_params):
    source = open_source(preset_params("lesion-small", data={"path": str(REAL / "isic2019")}))
    assert source.samples["label"].value_counts().to_dict() == {
        "NV": 4323, "BKL": 583, "MEL": 491, "BCC": 264, "SCC": 114, "VASC": 80, "AK": 69, "DF": 60,
    }  # fmt: skip
    pixels = source.open_images(tmp_path)(0)
    assert pixels.shape == (32, 32, 3)
    assert 20 < pixels.mean() < 235


@needs_real
def test_the_real_films_are_read(tmp_path, preset_params):
    source = open_source(preset_params("cardio-small", data={"path": str(REAL / "chestxray14")}))
    findings = source.samples["label"][source.samples["label"] != ""]
    counts = findings.str.get_dummies("|").sum().to_dict()
    assert counts == {
        "Atelectasis": 95, "Cardiomegaly": 83, "Effusion": 170, "Infiltration": 162, "Mass": 35, "Nodule": 39,
        "Pneumonia": 11, "Pneumothorax": 40,
    }  # fmt: skip
    assert source.samples["group_id"].nunique() == 264
    assert (source.samples["source_split"] == "test").sum() == 310
    read = source.open_images(tmp_path)
    grey = {read(i).shape for i in range(0, 1000, 97)}
    assert grey == {(32, 32, 1)}
