"""One's own folder and table: what is read, what is refused, and that it equals the reader of the official layout."""

import os
import unicodedata
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from pipeline import params_file
from pipeline.data.sources import open_source
from pipeline.data.sources.image_paths import colour_channels, leaves
from pipeline.data.sources.table_labels import read_labels
from pipeline.data.splits import assign
from pipeline.errors import UserError
from pipeline.labels import encode
from pipeline.params import Params, TableParams
from pipeline.params_overlay import merge
from pipeline.stages.preset import read_preset

REAL = Path("../shared/data").resolve()
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason="no folder ../shared/data with real images beside the clone")
NAMES = ("a.png", "ward 2/b.png", "ward 2/Läsion ß.png", "c.png")


def params_of(path: Path, task: str = "multiclass", **table: object) -> Params:
    tree = params_file.read_yaml(Path("params.yaml"))
    merge(tree, read_preset("own-images"))
    tree["task"] = task
    tree["data"] |= {"path": str(path), "image_size": 32}
    tree["data"]["table"] |= table
    return params_file.validate(tree, "test")


def write_csv(folder: Path, text: str) -> None:
    (folder / "labels.csv").write_text(text, encoding="utf-8")


@pytest.fixture
def folder(tmp_path) -> Path:
    """Four colour pictures of one grey level each, two of them in a folder with a space, one with odd letters."""
    root = tmp_path / "my data"
    for number, name in enumerate(NAMES):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 50), (10 * number,) * 3).save(root / name)
    return root


CSV = """image,dx,lesion,part
a.png,NV,L1,train
ward 2/b.png,MEL,L1,train
ward 2/Läsion ß.png,NV,L2,test
./c.png, BKL ,L3 ,val
"""


def test_a_class_a_group_and_a_split_for_each_image(folder, tmp_path):
    write_csv(folder, CSV)
    source = open_source(params_of(folder, label="dx", group="lesion", split="part"))
    assert source.samples.to_dict("list") == {
        "sample_id": ["a.png", "ward 2/b.png", "ward 2/Läsion ß.png", "./c.png"],
        "group_id": ["L1", "L1", "L2", "L3"],
        "label": ["NV", "MEL", "NV", "BKL"],
        "source_split": ["train", "train", "test", "val"],
    }
    assert source.classes == ("BKL", "MEL", "NV")
    assert source.channels == 3
    assert source.tables == (folder / "labels.csv",)
    read = source.open_images(tmp_path)
    assert [read(i)[0, 0].tolist() for i in range(4)] == [[0] * 3, [10] * 3, [20] * 3, [30] * 3]
    assert read(0).shape == (32, 32, 3)


def test_without_group_and_split_columns_each_image_is_on_its_own(folder):
    write_csv(folder, CSV)
    samples = open_source(params_of(folder, label="dx")).samples
    assert list(samples.columns) == ["sample_id", "group_id", "label"]
    assert samples["group_id"].tolist() == samples["sample_id"].tolist()


def test_declared_classes_give_the_order(folder):
    write_csv(folder, CSV)
    source = open_source(params_of(folder, label="dx", classes=["NV", "MEL", "SCC", "BKL"]))
    assert source.classes == ("NV", "MEL", "SCC", "BKL")


FINDINGS = "image,found,Mass,Effusion,Hernia\n" + "".join(
    f"{name},{found},{cells}\n"
    for name, found, cells in zip(
        NAMES,
        ["Effusion; Mass", "", "Hernia;", "Mass"],
        ["1,1,0", "0,0.0,FALSE", "0,0,True", "1.0,0,0"],
        strict=True,
    )
)


@pytest.mark.parametrize(
    ("table", "classes", "label"),
    [
        ({"label": "found", "separator": ";"}, ("Effusion", "Hernia", "Mass"), "Effusion|Mass"),
        ({"label": ["Mass", "Effusion", "Hernia"]}, ("Mass", "Effusion", "Hernia"), "Mass|Effusion"),
        (
            {"label": ["Mass", "Effusion", "Hernia"], "classes": ["Hernia", "Effusion", "Mass"]},
            ("Hernia", "Effusion", "Mass"),
            "Effusion|Mass",
        ),
    ],
)
def test_several_findings_in_one_cell_or_as_columns(folder, table, classes, label):
    write_csv(folder, FINDINGS)
    source = open_source(params_of(folder, "multilabel", **table))
    assert source.classes == classes
    assert source.samples["label"].tolist() == [label, "", "Hernia", "Mass"]


def test_one_hot_columns_give_one_class(folder):
    write_csv(folder, "image,MEL,NV\n" + "".join(f"{name},{i % 2},{1 - i % 2}.0\n" for i, name in enumerate(NAMES)))
    source = open_source(params_of(folder, label=["MEL", "NV"]))
    assert source.samples["label"].tolist() == ["NV", "MEL", "NV", "MEL"]
    assert source.classes == ("MEL", "NV")


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([2, 0, 1, 2], ["2", "0", "1", "2"]),
        ([2.0, 0.0, 1.0, 0.5], ["2", "0", "1", "0.5"]),
        ([True, False, True, False], ["True", "False", "True", "False"]),
        (pd.Categorical(["x", "y", "x", "x"]), ["x", "y", "x", "x"]),
    ],
)
def test_parquet_cells_become_the_text_that_one_would_type(folder, values, labels):
    table = pd.DataFrame({"image": NAMES, "grade": values, "patient": [7, 7, 8, 9]})
    table.to_parquet(folder / "labels.PARQUET")
    source = open_source(params_of(folder, file="labels.PARQUET", label="grade", group="patient"))
    assert source.samples["label"].tolist() == labels
    assert source.samples["group_id"].tolist() == ["7", "7", "8", "9"]


def test_an_empty_parquet_cell_is_no_finding_with_a_separator_and_an_error_elsewhere(folder):
    pd.DataFrame({"image": NAMES, "label": ["A", None, "B|A", "B"], "A": [1, None, 0, 1], "B": 1}).to_parquet(
        folder / "t.parquet"
    )
    source = open_source(params_of(folder, "multilabel", file="t.parquet", separator="|"))
    assert source.samples["label"].tolist() == ["A", "", "A|B", "B"]
    with pytest.raises(UserError, match="data row 2, column label: '' is no label"):
        open_source(params_of(folder, file="t.parquet"))
    with pytest.raises(UserError, match="data row 2, column A: '' is neither 0 nor 1"):
        open_source(params_of(folder, "multilabel", file="t.parquet", label=["A", "B"]))


def test_numbers_in_a_csv_are_classes_as_they_are_typed(folder):
    write_csv(folder, "image,label\n" + "".join(f"{name},{grade}\n" for name, grade in zip(NAMES, "0120", strict=True)))
    source = open_source(params_of(folder))
    assert source.classes == ("0", "1", "2")
    assert source.samples["label"].tolist() == ["0", "1", "2", "0"]


@pytest.mark.parametrize(
    ("rows", "table", "told"),
    [
        ("a.png,A,g,train\nc.png,,g,train", {}, r"labels\.csv: data row 2, column label: '' is no label"),
        ("a.png,A,g,train\nc.png,NaN,g,train", {}, "data row 2, column label: 'NaN' is no label"),
        ("a.png,A,g,train\nc.png,NA,g,train", {}, "data row 2, column label: 'NA' is no label"),
        ("a.png,A,g,train\nc.png,A,g,train", {}, r"column label: has 1 classes \['A'\]; at least 2"),
        ("a.png,A,g,train\nc.png,A|B,g,train", {}, "class name 'A|B' contains '|'"),
        ("a.png,A,g,train\nc.png,b,g,train", {"classes": ["A", "B"]}, "data row 2, column label: unknown label 'b'"),
        ("a.png,A,g,train\nc.png,B,,train", {"group": "group"}, "data row 2, column group: '' names no group"),
        ("a.png,A,g,train\nc.png,B,nan,train", {"group": "group"}, "data row 2, column group: 'nan' names no group"),
        (
            "a.png,A,g,train\nc.png,B,g,Test",
            {"split": "split"},
            "data row 2, column split: 'Test' is none of train, va",
        ),
        ("a.png,A,g,train\nc.png,B,g,", {"split": "split"}, "data row 2, column split: '' is none of train, val, test"),
        ("a.png,A,g,train\na.png,B,g,train", {}, r"data row 2, column image: 'a\.png' stands there twice"),
        ("a.png,A,g,train\n./a.png,B,g,train", {}, r"data row 2, column image: 'a\.png' stands there twice"),
        ("a.png,A,g,train\n,B,g,train", {}, "data row 2, column image is blank"),
        ("a.png,A,g,train\nc.png,B,g,train", {"label": "dx"}, r"no column dx; it has image, label, group, split"),
        ("a.png,A,g,train\nc.png,B,g,train", {"label": []}, r"has 0 classes \[\]; at least 2 are needed"),
        ("a.png,A,g,train\nc.png,B,g,train", {"separator": ";"}, "separator is ';', but task is multiclass"),
        ("a.png,A,g,train\nc.png,B,g,train", {"classes": ["A", "A|B"]}, r"data\.table\.classes: .*'A\|B' contains"),
        ("a.png,A,g,train\nc.png,B,g,train", {"classes": ["A", "B", "A"]}, "'A' is blank or stands there twice"),
        ("", {}, "the table has no rows"),
        ("a.png,A,g,train,\nc.png,B,g,train,", {}, "more cells than the first line has columns"),
    ],
)
def test_a_mistake_in_the_table_is_told_by_row_column_and_value(folder, rows, table, told):
    write_csv(folder, f"image,label,group,split\n{rows}\n")
    with pytest.raises(UserError, match=told):
        open_source(params_of(folder, **table))


@pytest.mark.parametrize(
    ("task", "table", "told"),
    [
        ("multilabel", {"label": "found"}, "set data.table.separator to what joins its findings"),
        ("multilabel", {"label": ["Mass", "Hernia"], "separator": "|"}, "lists 0/1 columns, which need none"),
        ("multilabel", {"label": ["Mass"]}, r"has 1 classes \['Mass'\]; at least 2 .*for one finding: task multiclass"),
        ("multilabel", {"label": ["Mass", "Mass"]}, r"label is \['Mass', 'Mass'\]; each column may stand there once"),
        ("multilabel", {"label": ["Mass", "found"]}, "data row 1, column found: 'Effusion; Mass' is neither 0 nor 1"),
        ("multilabel", {"label": ["Mass", "Hernia"], "classes": ["Mass", "X"]}, "the names must be the same"),
        ("multiclass", {"label": ["Mass", "Effusion"]}, "data row 1: 2 of the columns Mass, Effusion are 1"),
        (
            "multilabel",
            {"label": "found", "separator": ";", "classes": ["Mass", "Effusion"]},
            "data row 3, column found: unknown label 'Hernia'.*an empty cell is an image without finding",
        ),
    ],
)
def test_forms_of_findings_that_do_not_fit_are_told(folder, task, table, told):
    write_csv(folder, FINDINGS)
    with pytest.raises(UserError, match=told):
        open_source(params_of(folder, task, **table))


def test_a_missing_finding_is_not_taken_for_a_name(folder):
    write_csv(folder, "image,label\na.png,A|B\nc.png,nan\n")
    with pytest.raises(UserError, match=r"data row 2, column label: 'nan' is no label.*empty cell is an image without"):
        open_source(params_of(folder, "multilabel", separator="|"))


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "ward 2/../../x.png", "..", "//a.png"])
def test_a_path_that_leaves_the_folder_is_refused_with_its_row(folder, name):
    (folder.parent / "x.png").write_bytes((folder / "a.png").read_bytes())
    write_csv(folder, f"image,label\na.png,A\n{name},B\n")
    with pytest.raises(UserError, match=r"data row 2, column image: .* leads out of data\.path"):
        open_source(params_of(folder))


@given(st.lists(st.sampled_from(["..", ".", "a", "", "b"]), min_size=1, max_size=8).map("/".join))
def test_a_path_is_let_in_exactly_where_it_stays_below_the_folder(path):
    below = os.path.normpath(os.path.join("/root/data", path))  # noqa: PTH118
    assert leaves(path) == (below != "/root/data" and not below.startswith("/root/data/"))


def test_the_table_itself_lies_in_the_folder(folder):
    for file in ("../labels.csv", "/tmp/labels.csv"):
        with pytest.raises(UserError, match=r"data\.table\.file is .* outside data\.path"):
            open_source(params_of(folder, file=file))
    with pytest.raises(UserError, match=r"labels\.csv: no such file; data\.table\.file"):
        open_source(params_of(folder))
    (folder / "labels.xlsx").write_bytes(b"PK")
    with pytest.raises(UserError, match=r"labels\.xlsx: is a \.xlsx; data\.table\.file is a \.csv or a \.parquet"):
        open_source(params_of(folder, file="labels.xlsx"))


@pytest.mark.parametrize(
    ("frame", "told"),
    [
        (pd.DataFrame({"image": ["a.png"], "dx": ["A"]}), "no column label; it has image, dx"),
        (pd.DataFrame({"image": [], "label": []}), "the table has no rows"),
        (pd.DataFrame({"image": ["a.png"], "label": [["A", "B"]]}), r"column label holds list<.*>; text and numbers"),
        (pd.DataFrame({"image": ["a.png"], "label": [b"A"]}), "column label holds binary"),
    ],
)
def test_a_parquet_file_that_does_not_fit_is_told(folder, frame, told):
    frame.to_parquet(folder / "t.parquet")
    with pytest.raises(UserError, match=told):
        open_source(params_of(folder, file="t.parquet"))


def test_a_damaged_parquet_file_is_told(folder):
    (folder / "t.parquet").write_bytes(b"PAR1 but nothing else")
    with pytest.raises(UserError, match=r"t\.parquet: cannot be read as Parquet"):
        open_source(params_of(folder, file="t.parquet"))


def test_missing_images_are_counted_and_the_first_named(folder):
    rows = "\n".join(f"{name},{name[:1]}" for name in ("a.png", "1.png", "ward 2", "3.png", "ward 2/a.png", "c.png"))
    write_csv(folder, f"image,label\n{rows}\n")
    told = r"data row 2, column image: no such file .* 4 of 6 images are missing: '1\.png', 'ward 2', '3\.png', …\."
    with pytest.raises(UserError, match=told):
        open_source(params_of(folder))


def test_letters_with_accents_are_found_however_they_are_stored(folder, tmp_path):
    split_up = unicodedata.normalize("NFD", "Läsion.png")
    (folder / "a.png").rename(folder / split_up)
    write_csv(folder, f"image,label\n{unicodedata.normalize('NFC', split_up)},A\nc.png,B\n")
    source = open_source(params_of(folder))
    assert source.samples["sample_id"].tolist() == ["L\u00e4sion.png", "c.png"]
    assert [int(source.open_images(tmp_path)(i)[0, 0, 0]) for i in range(2)] == [0, 30]


def test_links_are_followed_and_a_link_back_does_not_go_round(folder, tmp_path):
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


NAME = st.text(st.characters(codec="utf-8", exclude_characters="|;", exclude_categories=["C", "Z"]), min_size=1)


@given(st.data())
def test_columns_and_joined_cells_tell_the_same(data):
    unlike = NAME.filter(lambda name: name.lower() not in {"na", "nan", "<na>", "null"})
    classes = data.draw(st.lists(unlike, min_size=2, max_size=5, unique=True))
    rows = data.draw(st.lists(st.lists(st.sampled_from(classes), unique=True), min_size=1, max_size=8))
    cells = [" ; ".join(names) for names in rows]
    table = pd.DataFrame({name: [str(int(name in names)) for names in rows] for name in classes})
    table["the cells"] = cells
    wide = TableParams(
        file="t.csv", image="image", label=tuple(classes), separator=None, group=None, split=None, classes=None
    )
    narrow = wide.model_copy(update={"label": "the cells", "separator": ";", "classes": tuple(classes)})
    joined = read_labels(table, narrow, "multilabel", Path("t.csv"))
    assert joined == read_labels(table, wide, "multilabel", Path("t.csv"))
    assert joined == (["|".join(name for name in classes if name in names) for names in rows], tuple(classes))


@needs_real
def test_the_real_lesions_are_the_same_from_a_table_as_from_the_official_layout(tmp_path):
    official = params_file.read_yaml(Path("params.yaml"))
    merge(official, read_preset("lesion-small"))
    official["data"]["path"] = str(REAL / "isic2019")
    official = params_file.validate(official, "test")
    theirs = open_source(official)

    root = tmp_path / "own"
    root.mkdir()
    (root / "pictures").symlink_to(REAL / "isic2019/ISIC_2019_Training_Input")
    metadata = pd.read_csv(REAL / "isic2019/ISIC_2019_Training_Metadata.csv", dtype=str, keep_default_na=False)
    truth = pd.read_csv(REAL / "isic2019/ISIC_2019_Training_GroundTruth.csv").set_index("image")
    lesion = metadata.set_index("image")["lesion_id"]
    table = pd.DataFrame({"image": "pictures/" + truth.index + ".jpg", "dx": truth.idxmax(axis=1).to_numpy()})
    table["lesion"] = [f"of {lesion[name] or name}" for name in truth.index]
    table.to_csv(root / "labels.csv", index=False)
    ours = open_source(params_of(root, label="dx", group="lesion", classes=list(theirs.classes)))

    assert len(ours.samples) == 5984
    assert (ours.classes, ours.channels) == (theirs.classes, theirs.channels)
    assert ours.samples["sample_id"].tolist() == [f"pictures/{name}.jpg" for name in theirs.samples["sample_id"]]
    assert ours.samples["label"].tolist() == theirs.samples["label"].tolist()
    partition = [pd.factorize(source.samples["group_id"])[0].tolist() for source in (ours, theirs)]
    assert partition[0] == partition[1]
    splits = [
        assign(source.samples, encode(source.samples["label"], source.classes, "multiclass", origin=""),
               source.classes, official.split).tolist()
        for source in (ours, theirs)
    ]  # fmt: skip
    assert splits[0] == splits[1]
    read_ours, read_theirs = ours.open_images(tmp_path), theirs.open_images(tmp_path)
    for i in np.linspace(0, 5983, 200).astype(int).tolist():
        np.testing.assert_array_equal(read_ours(i), read_theirs(i))
