"""The stages split and subsets: their tables, and what they show."""

import pandas as pd
import pytest

from pipeline.common.errors import UserError
from pipeline.common.layout import Layout
from pipeline.stages import split, subsets
from tests.data.made_files import write_prepared


@pytest.fixture
def layout(tmp_path) -> Layout:
    """Sixty samples of two classes, two of each lesion."""
    layout = Layout(tmp_path / "artifacts")
    write_prepared(layout, ("NV", "DF"), ["NV", "NV", "DF", "DF"] * 15, groups=[f"l{i // 2}" for i in range(60)])
    return layout


def test_the_split_of_each_sample_and_its_counts(layout, make_params, capsys):
    split.run(make_params(), layout)
    table = pd.read_csv(layout.splits)
    assert list(table.columns) == ["sample_id", "split"]
    assert table["sample_id"].tolist() == [f"s{i}" for i in range(60)]
    assert (table["split"][::2].to_numpy() == table["split"][1::2].to_numpy()).all()  # a lesion stays together
    counts = table["split"].value_counts()
    shown = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert shown[0] == ["samples", "groups", "NV", "DF"]
    assert [row[:2] for row in shown[1:]] == [[name, str(counts[name])] for name in ("train", "val", "test")]


def test_folds_are_written_beside_the_split(layout, make_params):
    split.run(make_params(split={"folds": 3, "fold": 1}), layout)
    table = pd.read_csv(layout.splits)
    assert list(table.columns) == ["sample_id", "split", "fold"]
    assert ((table["fold"] == 1) == (table["split"] == "test")).all()
    assert set(table["fold"]) == {0, 1, 2}


def test_a_class_with_too_few_lesions_is_reported_with_the_images_that_were_left_out(layout, make_params):
    write_prepared(layout, ("NV", "DF"), ["NV"] * 56 + ["DF"] * 4, groups=[f"l{i // 2}" for i in range(60)])
    with pytest.raises(UserError, match=r"DF \(2\).*\(images that cannot be read are left out: .*report\.json\)"):
        split.run(make_params(), layout)
    assert not layout.splits.exists()


def test_each_teacher_has_a_column_of_the_training_samples_it_sees(layout, make_params, capsys):
    params = make_params(teachers={"architectures": ["resnet34", "resnet18"]}, subsets={"overlap": 0.0})
    split.run(params, layout)
    splits = pd.read_csv(layout.splits)
    splits.assign(given=["NV", "NV", "DF", "DF"] * 15).to_csv(layout.labels, index=False)
    capsys.readouterr()
    subsets.run(params, layout)
    table = pd.read_csv(layout.subsets)
    assert list(table.columns) == ["sample_id", "resnet34", "resnet18"]
    assert table["sample_id"].tolist() == splits["sample_id"][splits["split"] == "train"].tolist()
    assert (table["resnet34"] + table["resnet18"] == 1).all()  # no overlap, nothing left out
    sizes = table["resnet34"].sum(), table["resnet18"].sum()
    assert capsys.readouterr().out == (
        f"subsets: cyclic, overlap 0: resnet34 {sizes[0]}, resnet18 {sizes[1]} of {len(table)}\n"
    )
