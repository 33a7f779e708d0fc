"""Tables as text: nothing is guessed, and what is malformed is reported."""

import pandas as pd
import pytest

from pipeline.common.errors import UserError
from pipeline.common.tables import read_csv, read_table, require_unique, write_csv


def test_every_cell_is_the_text_that_stands_there(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("sample_id,label\n007,NA\n1.0,\n", encoding="utf-8")
    assert read_csv(path).to_dict("list") == {"sample_id": ["007", "1.0"], "label": ["NA", ""]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1,2,3\n4,5,6\n", "rows have more cells than the first line has columns"),
        ("a,b\n1,2\n4,5,6\n", "cannot be read as CSV: .*Expected 2 fields in line 3, saw 3"),
        ("", "cannot be read as CSV: No columns to parse"),
        ("a,c\n1,2\n", "no column b; it has a, c"),
        ("a,b\n", "the table has no rows"),
    ],
)
def test_a_malformed_table_is_reported_by_name(tmp_path, content, message):
    path = tmp_path / "labels.csv"
    path.write_text(content)
    with pytest.raises(UserError, match=rf"labels\.csv: .*{message}"):
        read_table(path, ["a", "b"])


def test_a_file_of_artifacts_that_does_not_fit_is_reported_with_the_command_that_makes_it(tmp_path):
    path = tmp_path / "splits.csv"
    with pytest.raises(UserError, match=r"splits\.csv: no such file; a file of artifacts/ is written by make repro"):
        read_csv(path, ["sample_id"])
    path.write_text("sample_id\ns0\n")
    with pytest.raises(UserError, match=r"splits\.csv: has no column split, fold; run make repro to write it again"):
        read_csv(path, ["sample_id", "split", "fold"])
    assert read_csv(path, ["sample_id"])["sample_id"].tolist() == ["s0"]


def test_a_missing_table_and_a_doubled_name_are_reported(tmp_path):
    with pytest.raises(UserError, match=r"none\.csv: no such file"):
        read_table(tmp_path / "none.csv", ["a"])
    with pytest.raises(UserError, match=r"t\.csv: data row 3, column id: 'x' is duplicated"):
        require_unique(pd.Series(["x", "y", "x"]), tmp_path / "t.csv", "id")


def test_a_table_is_written_whole_and_with_its_columns_where_it_has_no_rows(tmp_path):
    path = tmp_path / "deep" / "table.csv"
    write_csv(path, [{"a": 1, "b": "x"}, {"a": 2, "b": ""}])
    assert path.read_text() == "a,b\n1,x\n2,\n"
    write_csv(path, [(1, "y")], ("b", "a"))
    assert path.read_text() == "b,a\n1,y\n"
    write_csv(path, [], ("a", "b"))
    assert path.read_text() == "a,b\n"
    assert [one.name for one in path.parent.iterdir()] == ["table.csv"]
