"""Training curves as a table: what is written is what is read."""

import math

import pytest

from pipeline.common.errors import UserError
from pipeline.training.history import History, by_epoch, read_history


@pytest.fixture
def history() -> History:
    history = History()
    history.add(1, "train", {"loss": 0.1 + 0.2})
    history.add(1, "val", {"f1_macro": math.nan, "loss": 1.5})
    history.add(2, "train", {"loss": 0.25})
    history.add(2, "val", {"f1_macro": 0.5, "loss": 1.25})
    return history


def test_what_is_written_is_read_in_full_precision(history, tmp_path):
    history.write(tmp_path / "history.csv")
    assert (tmp_path / "history.csv").read_text().splitlines()[:3] == [
        "epoch,split,metric,value", "1,train,loss,0.30000000000000004", "1,val,f1_macro,",
    ]  # fmt: skip
    table = read_history(tmp_path / "history.csv")
    assert list(table.columns) == ["epoch", "split", "metric", "value"]
    assert table["epoch"].tolist() == [1, 1, 1, 2, 2, 2]
    rows = list(zip(table["epoch"], table["split"], table["metric"], table["value"], strict=True))
    assert [row for row in rows if row[3] == row[3]] == [row for row in history.rows if row[3] == row[3]]
    assert math.isnan(rows[1][3])


def test_epochs_are_what_a_listener_was_given(history, tmp_path):
    history.write(tmp_path / "history.csv")
    first, second = by_epoch(read_history(tmp_path / "history.csv"))
    assert math.isnan(first.pop("val/f1_macro"))
    assert first == {"train/loss": 0.1 + 0.2, "val/loss": 1.5}
    assert second == history.of_epoch(2) == {"train/loss": 0.25, "val/f1_macro": 0.5, "val/loss": 1.25}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no such file"),
        ("epoch,split,value\n1,val,0.5\n", "has no column metric"),
        ("epoch,split,metric,value\n1,val,loss,half\n", "is no history of a training"),
        ("epoch,split,metric,value\nfirst,val,loss,0.5\n", "is no history of a training"),
    ],
)
def test_a_file_that_is_no_history_is_refused_by_name(tmp_path, text, message):
    path = tmp_path / "history.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=rf"history\.csv: {message}"):
        read_history(path)
