"""One's own folder and table: what is read, what is refused, and that it equals the reader of the official layout."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.common.errors import UserError
from pipeline.common.labels import encode
from pipeline.data.sources import open_source
from pipeline.data.splits import assign
from tests.data.own_table import write_csv

REAL = Path("../shared/data").resolve()
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason="no folder ../shared/data with real images beside the clone")


CSV = """image,dx,lesion,part
a.png,NV,L1,train
ward 2/b.png,MEL,L1,train
ward 2/Läsion ß.png,NV,L2,test
./c.png, BKL ,L3 ,val
"""


def test_a_class_a_group_and_a_split_for_each_image(folder, tmp_path, params_of):
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


def test_without_group_and_split_columns_each_image_is_on_its_own(folder, params_of):
    write_csv(folder, CSV)
    samples = open_source(params_of(folder, label="dx")).samples
    assert list(samples.columns) == ["sample_id", "group_id", "label"]
    assert samples["group_id"].tolist() == samples["sample_id"].tolist()


def test_declared_classes_give_the_order(folder, params_of):
    write_csv(folder, CSV)
    source = open_source(params_of(folder, label="dx", classes=["NV", "MEL", "SCC", "BKL"]))
    assert source.classes == ("NV", "MEL", "SCC", "BKL")


@pytest.mark.parametrize(
    ("rows", "table", "message"),
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
        ("a.png,A,g,train\na.png,B,g,train", {}, r"data row 2, column image: 'a\.png' is duplicated"),
        ("a.png,A,g,train\n./a.png,B,g,train", {}, r"data row 2, column image: 'a\.png' is duplicated"),
        ("a.png,A,g,train\n,B,g,train", {}, "data row 2, column image is blank"),
        ("a.png,A,g,train\nc.png,B,g,train", {"label": "dx"}, r"no column dx; it has image, label, group, split"),
        ("a.png,A,g,train\nc.png,B,g,train", {"label": []}, r"has 0 classes \[\]; at least 2 are needed"),
        ("a.png,A,g,train\nc.png,B,g,train", {"separator": ";"}, "separator is ';', but task is multiclass"),
        ("a.png,A,g,train\nc.png,B,g,train", {"classes": ["A", "A|B"]}, r"data\.table\.classes: .*'A\|B' contains"),
        ("a.png,A,g,train\nc.png,B,g,train", {"classes": ["A", "B", "A"]}, "'A' is duplicated"),
        ("", {}, "the table has no rows"),
        ("a.png,A,g,train,\nc.png,B,g,train,", {}, "more cells than the first line has columns"),
    ],
)
def test_a_mistake_in_the_table_is_reported_by_row_column_and_value(folder, rows, table, message, params_of):
    write_csv(folder, f"image,label,group,split\n{rows}\n")
    with pytest.raises(UserError, match=message):
        open_source(params_of(folder, **table))


def test_the_table_itself_lies_in_the_folder(folder, params_of):
    for file in ("../labels.csv", "/tmp/labels.csv"):
        with pytest.raises(UserError, match=r"data\.table\.file is .* outside data\.path"):
            open_source(params_of(folder, file=file))
    with pytest.raises(UserError, match=r"labels\.csv: no such file; data\.table\.file"):
        open_source(params_of(folder))
    (folder / "labels.xlsx").write_bytes(b"PK")
    with pytest.raises(UserError, match=r"labels\.xlsx: is a \.xlsx; data\.table\.file is a \.csv or a \.parquet"):
        open_source(params_of(folder, file="labels.xlsx"))


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pd.DataFrame({"image": ["a.png"], "dx": ["A"]}), "no column label; it has image, dx"),
        (pd.DataFrame({"image": [], "label": []}), "the table has no rows"),
        (pd.DataFrame({"image": ["a.png"], "label": [["A", "B"]]}), r"column label holds list<.*>; text and numbers"),
        (pd.DataFrame({"image": ["a.png"], "label": [b"A"]}), "column label holds binary"),
    ],
)
def test_a_parquet_file_that_does_not_fit_is_reported(folder, frame, message, params_of):
    frame.to_parquet(folder / "t.parquet")
    with pytest.raises(UserError, match=message):
        open_source(params_of(folder, file="t.parquet"))


def test_a_damaged_parquet_file_is_reported(folder, params_of):
    (folder / "t.parquet").write_bytes(b"PAR1 but nothing else")
    with pytest.raises(UserError, match=r"t\.parquet: cannot be read as Parquet"):
        open_source(params_of(folder, file="t.parquet"))


@needs_real
def test_the_real_lesions_are_the_same_from_a_table_as_from_the_official_layout(tmp_path, params_of, preset_params):
    official = preset_params("lesion-small", data={"path": str(REAL / "isic2019")})
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
