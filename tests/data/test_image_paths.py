"""Paths of images in one's own table: none leaves the folder, all are found, and their headers give the channels."""

import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from pipeline.common.errors import UserError
from pipeline.data.sources import open_source
from pipeline.data.sources.image_paths import colour_channels, leaves
from tests.data.own_table import write_csv


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "ward 2/../../x.png", "..", "//a.png"])
def test_a_path_that_leaves_the_folder_is_refused_with_its_row(folder, name, params_of):
    (folder.parent / "x.png").write_bytes((folder / "a.png").read_bytes())
    write_csv(folder, f"image,label\na.png,A\n{name},B\n")
    with pytest.raises(UserError, match=r"data row 2, column image: .* leads out of data\.path"):
        open_source(params_of(folder))


@given(st.lists(st.sampled_from(["..", ".", "a", "", "b"]), min_size=1, max_size=8).map("/".join))
def test_a_path_is_let_in_exactly_where_it_stays_below_the_folder(path):
    below = os.path.normpath(os.path.join("/root/data", path))  # noqa: PTH118
    assert leaves(path) == (below != "/root/data" and not below.startswith("/root/data/"))


def test_missing_images_are_counted_and_the_first_named(folder, params_of):
    rows = "\n".join(f"{name},{name[:1]}" for name in ("a.png", "1.png", "ward 2", "3.png", "ward 2/a.png", "c.png"))
    write_csv(folder, f"image,label\n{rows}\n")
    message = r"data row 2, column image: no such file .* 4 of 6 images are missing: '1\.png', 'ward 2', '3\.png', …\."
    with pytest.raises(UserError, match=message):
        open_source(params_of(folder))


def test_letters_with_accents_are_found_however_they_are_stored(folder, tmp_path, params_of):
    split_up = unicodedata.normalize("NFD", "Läsion.png")
    (folder / "a.png").rename(folder / split_up)
    write_csv(folder, f"image,label\n{unicodedata.normalize('NFC', split_up)},A\nc.png,B\n")
    source = open_source(params_of(folder))
    assert source.samples["sample_id"].tolist() == ["L\u00e4sion.png", "c.png"]
    assert [int(source.open_images(tmp_path)(i)[0, 0, 0]) for i in range(2)] == [0, 30]


def test_links_are_followed_and_a_link_back_does_not_go_round(folder, tmp_path, params_of):
    (folder / "loop").symlink_to(folder)
    (folder / "gone").symlink_to(folder / "nowhere")
    (tmp_path / "store").mkdir()
    Image.new("L", (8, 8), 77).save(tmp_path / "store" / "far.png")
    (folder / "linked").symlink_to(tmp_path / "store")
    write_csv(folder, "image,label\na.png,A\nlinked/far.png,B\n")
    source = open_source(params_of(folder))
    assert source.open_images(tmp_path)(1)[0, 0].tolist() == [77] * 3


def write_dicom(path: Path, photometric: str) -> None:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "1.2.3"
    dataset.PhotometricInterpretation = photometric
    dataset.save_as(path, enforce_file_format=True)


def test_channels_follow_the_headers(tmp_path):
    grey, empty = tmp_path / "grey.png", tmp_path / "empty.png"
    Image.new("L", (4, 4)).save(grey)
    empty.write_bytes(b"")
    files = {mode: tmp_path / f"{mode.replace(';', '')}.png" for mode in ("RGB", "RGBA", "P", "LA", "1", "I;16")}
    for mode, path in files.items():
        Image.new(mode, (4, 4)).save(path)
    for photometric in ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "YBR_FULL_422"):
        files[photometric] = tmp_path / f"{photometric}.dcm"
        write_dicom(files[photometric], photometric)
    assert {name: colour_channels([grey, empty, path]) for name, path in files.items()} == {
        "RGB": 3, "RGBA": 3, "P": 3, "LA": 1, "1": 1, "I;16": 1,
        "MONOCHROME1": 1, "MONOCHROME2": 1, "PALETTE COLOR": 3, "YBR_FULL_422": 3,
    }  # fmt: skip


def test_channels_are_judged_by_64_files_from_first_to_last(tmp_path):
    grey, colour = tmp_path / "grey.png", tmp_path / "colour.png"
    Image.new("L", (4, 4)).save(grey)
    Image.new("RGB", (4, 4)).save(colour)
    looked_at = [row for row in range(127) if colour_channels([grey] * row + [colour] + [grey] * (126 - row)) == 3]
    assert looked_at == list(range(0, 127, 2))
