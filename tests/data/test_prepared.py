"""The artefacts of prepare, split and noise as later stages read them, and what is refused by name."""

import json

import numpy as np
import pandas as pd
import pytest

from pipeline.common.errors import UserError
from pipeline.common.layout import Layout
from pipeline.data.prepared import REPORT_FIELDS, PreparedData, load_prepared, open_images, read_report, read_samples
from tests.data.made_files import write_hashes, write_prepared, write_split


@pytest.fixture
def layout(tmp_path) -> Layout:
    """Four samples of two classes; a label of train is noisy, and so is one of test, which counts for nothing."""
    layout = Layout(tmp_path / "artifacts")
    images = np.arange(4, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    write_prepared(layout, ("MEL", "NV"), ["NV", "MEL", "NV", "MEL"], images=images, groups=["l1", "l2", "l1", "l3"])
    write_split(layout, ["train", "test", "train", "val"])
    given = pd.DataFrame({"sample_id": ["s0", "s1", "s2", "s3"], "given": ["MEL", "NV", "NV", "MEL"]})
    given.to_csv(layout.labels, index=False)
    return layout


def test_every_row_speaks_of_the_same_image(layout):
    prepared = load_prepared(layout, "multiclass")
    assert prepared.classes == ("MEL", "NV")
    assert prepared.sample_ids.tolist() == ["s0", "s1", "s2", "s3"]
    assert prepared.groups.tolist() == ["l1", "l2", "l1", "l3"]
    assert prepared.images[:, 0, 0, 0].tolist() == [0, 1, 2, 3]
    assert prepared.published.tolist() == [1, 0, 1, 0]
    assert {name: prepared.rows(name).tolist() for name in ("train", "val", "test")} == {
        "train": [0, 2], "val": [3], "test": [1],
    }  # fmt: skip
    assert {name: prepared.targets(name).tolist() for name in ("train", "val", "test")} == {
        "train": [0, 1], "val": [0], "test": [0],
    }  # fmt: skip


def test_the_members_of_a_training_are_those_of_the_table(layout, make_params):
    members = {"sample_id": ["s0", "s2"], "resnet18": [1, 0], "resnet34": [1, 1]}
    pd.DataFrame(members).to_csv(layout.subsets, index=False)
    data = PreparedData(layout, "multiclass")
    assert data.digest == "0" * 64
    found = data.members(make_params(teachers={"architectures": ["resnet34", "resnet18"]}))
    assert {name: member.tolist() for name, member in found.items()} == {
        "resnet34": [True, True], "resnet18": [True, False],
    }  # fmt: skip
    with pytest.raises(UserError, match=r"subsets\.csv: has no column resnet50"):
        PreparedData(layout, "multiclass").members(make_params(teachers={"architectures": ["resnet50"]}))


@pytest.mark.parametrize("name", REPORT_FIELDS)
def test_a_report_without_a_field_is_refused(layout, name):
    report = json.loads(layout.data_report.read_text())
    del report[name]
    layout.data_report.write_text(json.dumps(report))
    with pytest.raises(UserError, match=rf"report\.json: has no field {name}; run make repro again"):
        read_report(layout)


def test_a_report_that_is_missing_or_broken_is_refused(layout):
    layout.data_report.write_text('{"classes": ["MEL"')
    with pytest.raises(UserError, match=r"report\.json: cannot be read as JSON"):
        read_report(layout)
    layout.data_report.write_text("5")
    with pytest.raises(UserError, match=r"report\.json: cannot be read as JSON"):
        read_report(layout)
    layout.data_report.unlink()
    with pytest.raises(UserError, match=r"report\.json: no such file; prepare the data first \(make repro\)"):
        read_report(layout)


def test_files_that_are_missing_or_damaged_are_named(layout):
    layout.samples.write_text("sample_id,group_id\ns0,l1\n")
    with pytest.raises(UserError, match=r"samples\.csv: is damaged, its SHA-256 is not .* Delete .*/data and run"):
        read_samples(layout, "multiclass")
    write_hashes(layout)
    with pytest.raises(UserError, match=r"samples\.csv: has no column label"):
        read_samples(layout, "multiclass")
    layout.samples.write_text("sample_id,group_id,label\ns0,l1,SCC\n")
    write_hashes(layout)
    with pytest.raises(UserError, match=r"samples\.csv: data row 1: unknown class 'SCC'"):
        read_samples(layout, "multiclass")
    layout.images.write_bytes(layout.images.read_bytes()[:50])
    with pytest.raises(UserError, match=r"images\.npy: is damaged, its SHA-256 is not .* Delete .*/data and run"):
        open_images(layout)
    layout.images.unlink()
    with pytest.raises(UserError, match=r"images\.npy: cannot be read \(No such file or directory\)\. Delete .*/data"):
        open_images(layout)
