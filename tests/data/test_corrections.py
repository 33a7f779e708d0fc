"""A person's corrections: laid over training and validation labels, refused where they do not fit."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.common.errors import UserError
from pipeline.data.corrections import correct, read_corrections

IDS = np.array(["s0", "s1", "s2", "s3"])
SPLIT = np.array(["train", "val", "test", "train"])


def corrected(tmp_path: Path, text: str, task: str = "multiclass") -> tuple[np.ndarray, np.ndarray]:
    path = tmp_path / "corrections.csv"
    path.write_text(text)
    given = np.zeros(4, dtype=np.int64) if task == "multiclass" else np.ones((4, 2), dtype=np.float32)
    return correct(given, IDS, SPLIT, read_corrections(path, ("MEL", "NV"), task), path)  # type: ignore[arg-type]


def test_corrections_override_the_labels_of_their_samples_alone(tmp_path):
    given, marked = corrected(tmp_path, "sample_id,label\ns1,NV\ns3,MEL\n")
    assert given.tolist() == [0, 1, 0, 0]
    assert marked.tolist() == [False, True, False, True]


def test_several_findings_and_none_at_all_are_labels_too(tmp_path):
    given, marked = corrected(tmp_path, "sample_id,label\ns0,NV|MEL\ns1,\ns3,NV\n", "multilabel")
    assert given.tolist() == [[1, 1], [0, 0], [1, 1], [0, 1]]
    assert marked.tolist() == [True, True, False, True]


@pytest.mark.parametrize("text", ["sample_id,label\n", "sample_id,label"])
def test_a_file_without_rows_corrects_nothing(tmp_path, text):
    given, marked = corrected(tmp_path, text)
    assert given.tolist() == [0, 0, 0, 0]
    assert not marked.any()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sample_id,label\ns0,NV\ns9,NV\n", "data row 2, column sample_id: no sample 's9' in the data; take the row"),
        ("sample_id,label\ns2,NV\n", "data row 1, column sample_id: sample 's2' is in the test split"),
        ("sample_id,label\ns0,NV\ns0,MEL\n", "data row 2, column sample_id: 's0' is duplicated"),
        ("sample_id,label\ns0,Nevus\n", "column label: data row 1: unknown class 'Nevus'; the classes are MEL, NV"),
        ("sample_id,label\ns0,nan\n", "column label: data row 1: unknown class 'nan'"),
        ("sample_id,label\ns0,\n", "column label: data row 1: 0 classes, exactly 1 is needed"),
        ("sample_id,label\ns0,MEL|NV\n", "column label: data row 1: 2 classes, exactly 1 is needed"),
        ("id,label\ns0,NV\n", "no column sample_id; it has id, label"),
        ("", "cannot be read as CSV"),
    ],
)
def test_a_file_that_does_not_fit_is_reported_by_row_column_and_value(tmp_path, text, message):
    with pytest.raises(UserError) as error:
        corrected(tmp_path, text)
    assert str(error.value).startswith(str(tmp_path / "corrections.csv"))
    assert message in str(error.value)


def test_a_missing_file_is_reported(tmp_path):
    with pytest.raises(UserError, match=r"corrections.csv: no such file"):
        read_corrections(tmp_path / "corrections.csv", ("MEL", "NV"), "multiclass")
