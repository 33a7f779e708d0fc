"""A second test set: which classes are matched, what is refused and in which words, which images were met before."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.common.errors import UserError
from pipeline.data.external import Matched, equal_images, lookalikes, match, open_external
from pipeline.params.tree import Params

CLASSES = ("NV", "MEL", "BKL")
NAMED = {"label": "dx", "group": "lesion"}
ROWS = [("a.png", "NV", "L1"), ("ward 2/b.png", "MEL", "L1"), ("c.png", "scar", "L2")]


@pytest.fixture
def params_of(make_params) -> Callable[..., Params]:
    """Return a function that gives parameters with an external table; `table`: sections of data.table."""

    def of(path: Path, task: str = "multiclass", **table: Any) -> Params:
        own = {"data": {"table": NAMED | table, "image_size": 32}, "robustness": {"external": str(path)}}
        return make_params(task=task, noise={"kind": "none"}, **own)

    return of


def write(folder: Path, rows: list[tuple], columns: tuple[str, ...] = ("image", "dx", "lesion")) -> Path:
    path = folder / "clinic.csv"
    pd.DataFrame(rows, columns=list(columns)).to_csv(path, index=False)
    return path


def test_classes_are_matched_by_name_and_images_get_our_channels(folder, params_of, tmp_path):
    """Our own order of classes holds; the table's folder, not data.path, is where paths start."""
    source, matched = open_external(params_of(write(folder, ROWS)), CLASSES, channels=1)
    assert matched == Matched(shared=("NV", "MEL"), missing=("BKL",), surplus=("scar",))
    assert source.samples["label"].tolist() == ["NV", "MEL", "scar"]
    assert source.samples["group_id"].tolist() == ["L1", "L1", "L2"]
    image = source.open_images(tmp_path)(1)
    assert (image.shape, image[0, 0].tolist(), source.channels) == ((32, 32, 1), [10], 1)


def test_one_class_alone_and_a_parquet_file_are_fine(folder, params_of):
    path = folder / "clinic.parquet"
    pd.DataFrame({"image": ["a.png"], "dx": ["MEL"], "lesion": [7.0]}).to_parquet(path)
    source, matched = open_external(params_of(path), CLASSES, channels=3)
    assert matched.shared == ("MEL",)
    assert source.samples["group_id"].tolist() == ["7"]


def test_findings_of_one_cell_and_of_several_columns_are_matched(folder, params_of):
    path = write(folder, [("a.png", "Mass|Rib", "p"), ("c.png", "", "q")])
    params = params_of(path, "multilabel", separator="|")
    source, matched = open_external(params, ("Mass", "Edema"), channels=3)
    assert matched == Matched(("Mass",), ("Edema",), ("Rib",))
    assert source.samples["label"].tolist() == ["Mass|Rib", ""]
    path = write(folder, [("a.png", 1, 0), ("c.png", 0, 0)], ("image", "Mass", "Nodule"))
    params = params_of(path, "multilabel", label=["Mass", "Edema", "Nodule"], group=None)
    source, matched = open_external(params, ("Mass", "Edema", "Nodule"), channels=3)
    assert matched == Matched(("Mass",), ("Edema", "Nodule"), ()), "a column without a 1 says nothing"


@pytest.mark.parametrize(
    ("rows", "columns", "table", "message"),
    [
        (
            ROWS,
            ("image", "diagnosis", "lesion"),
            {},
            "no column dx; it has image, diagnosis, lesion. Its columns",
        ),
        (ROWS, ("image", "dx", "patient"), {}, "no column lesion; it has image, dx, patient. Its columns are named by"),
        ([("d.png", "NV", "L")], None, {}, "data row 1, column image: no such file below"),
        ([("../a.png", "NV", "L")], None, {}, "data row 1, column image: '../a.png' leads out of"),
        ([("a.png", "", "L")], None, {}, "data row 1, column dx: '' is no label"),
        ([("a.png", "NV", "")], None, {}, "data row 1, column lesion: '' names no group"),
        ([("a.png", "NV", "L"), ("a.png", "NV", "L")], None, {}, "data row 2, column image: 'a.png' is duplicated"),
        (
            [("a.png", "nv", "L"), ("c.png", "rash", "L")],
            None,
            {},
            "nv, rash; ours are NV, MEL, BKL; 'nv' may be 'NV'",
        ),
        (
            [("a.png", "rash", "L")],
            None,
            {},
            "no class of its labels is one of ours. It has rash; ours are",
        ),
        (ROWS, None, {"label": ["NV", "MEL"]}, "has 0 of the columns NV, MEL; at least 2 are needed"),
        ([], None, {}, "the table has no rows"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(folder, params_of, rows, columns, table, message):
    path = write(folder, rows, columns or ("image", "dx", "lesion"))
    with pytest.raises(UserError) as error:
        open_external(params_of(path, **table), CLASSES, channels=3)
    assert str(error.value).startswith(f"robustness.external: {path}: ")
    assert message in str(error.value)


def test_a_table_that_is_not_there_is_named_with_what_it_should_hold(tmp_path, params_of):
    with pytest.raises(UserError) as error:
        open_external(params_of(tmp_path / "none.csv"), CLASSES, channels=3)
    assert str(error.value) == (
        f"robustness.external is {str(tmp_path / 'none.csv')!r}: no such file; name a CSV or Parquet table with the "
        "columns of data.table (image, dx, lesion), or set it to null"
    )
    (tmp_path / "clinic.txt").write_text("image,dx\n")
    with pytest.raises(UserError, match=r"clinic\.txt: is a \.txt"):
        open_external(params_of(tmp_path / "clinic.txt"), CLASSES, channels=3)


def test_names_match_to_the_letter_and_lookalikes_are_named():
    found = match(("NV", "Mel-1", "BKL"), ("nv", "mel 1", "BKL", "scar"))
    assert found == Matched(("BKL",), ("NV", "Mel-1"), ("mel 1", "nv", "scar"))
    assert lookalikes(found) == [("mel 1", "Mel-1"), ("nv", "NV")]


def test_equal_images_are_found_by_their_pixels():
    images = np.random.default_rng(0).integers(0, 256, (5, 4, 4, 3), dtype=np.uint8)
    others = np.stack([images[3], images[0], images[3], images[1] ^ 1])
    assert equal_images(images, others) == [(0, 1), (3, 0)]
    assert equal_images(images[:0], others) == []
