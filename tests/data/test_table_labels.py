"""Labels in one's own table: one class, several findings in a cell or columns, Parquet, and forms that do not fit."""

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.common.errors import UserError
from pipeline.data.sources import open_source
from pipeline.data.sources.table_labels import read_labels
from pipeline.params.data import TableParams
from tests.data.own_table import NAMES, write_csv

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
def test_several_findings_in_one_cell_or_as_columns(folder, table, classes, label, params_of):
    write_csv(folder, FINDINGS)
    source = open_source(params_of(folder, "multilabel", **table))
    assert source.classes == classes
    assert source.samples["label"].tolist() == [label, "", "Hernia", "Mass"]


def test_one_hot_columns_give_one_class(folder, params_of):
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
def test_parquet_cells_become_the_text_that_one_would_type(folder, values, labels, params_of):
    table = pd.DataFrame({"image": NAMES, "grade": values, "patient": [7, 7, 8, 9]})
    table.to_parquet(folder / "labels.PARQUET")
    source = open_source(params_of(folder, file="labels.PARQUET", label="grade", group="patient"))
    assert source.samples["label"].tolist() == labels
    assert source.samples["group_id"].tolist() == ["7", "7", "8", "9"]


def test_an_empty_parquet_cell_is_no_finding_with_a_separator_and_an_error_elsewhere(folder, params_of):
    pd.DataFrame({"image": NAMES, "label": ["A", None, "B|A", "B"], "A": [1, None, 0, 1], "B": 1}).to_parquet(
        folder / "t.parquet"
    )
    source = open_source(params_of(folder, "multilabel", file="t.parquet", separator="|"))
    assert source.samples["label"].tolist() == ["A", "", "A|B", "B"]
    with pytest.raises(UserError, match="data row 2, column label: '' is no label"):
        open_source(params_of(folder, file="t.parquet"))
    with pytest.raises(UserError, match="data row 2, column A: '' is neither 0 nor 1"):
        open_source(params_of(folder, "multilabel", file="t.parquet", label=["A", "B"]))


def test_numbers_in_a_csv_are_classes_as_they_are_typed(folder, params_of):
    write_csv(folder, "image,label\n" + "".join(f"{name},{grade}\n" for name, grade in zip(NAMES, "0120", strict=True)))
    source = open_source(params_of(folder))
    assert source.classes == ("0", "1", "2")
    assert source.samples["label"].tolist() == ["0", "1", "2", "0"]


@pytest.mark.parametrize(
    ("task", "table", "message"),
    [
        ("multilabel", {"label": "found"}, "set data.table.separator to what joins its findings"),
        ("multilabel", {"label": ["Mass", "Hernia"], "separator": "|"}, "lists 0/1 columns, which need none"),
        ("multilabel", {"label": ["Mass"]}, r"has 1 classes \['Mass'\]; at least 2 .*for one finding: task multiclass"),
        ("multilabel", {"label": ["Mass", "Mass"]}, r"label is \['Mass', 'Mass'\]; the columns must be unique"),
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
def test_forms_of_findings_that_do_not_fit_are_reported(folder, task, table, message, params_of):
    write_csv(folder, FINDINGS)
    with pytest.raises(UserError, match=message):
        open_source(params_of(folder, task, **table))


def test_a_missing_finding_is_not_taken_for_a_name(folder, params_of):
    write_csv(folder, "image,label\na.png,A|B\nc.png,nan\n")
    with pytest.raises(UserError, match=r"data row 2, column label: 'nan' is no label.*empty cell is an image without"):
        open_source(params_of(folder, "multilabel", separator="|"))


NAME = st.text(st.characters(codec="utf-8", exclude_characters="|;", exclude_categories=["C", "Z"]), min_size=1)


@given(st.data())
def test_columns_and_joined_cells_say_the_same(data):
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
