"""A study begins with images that were prepared for its own parameters, or not at all."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.common.errors import UserError
from pipeline.common.layout import Layout
from pipeline.data.prepared import PreparedData
from pipeline.data.variants import Variants
from pipeline.params.file import with_values
from pipeline.params.tree import Params, of_images
from pipeline.stages import noise, split, subsets
from tests.data.made_files import write_prepared


@pytest.fixture
def params(make_params) -> Params:
    """The parameters of params.yaml; a study varies them."""
    return make_params(data={"corrections": str(Path("corrections.csv").resolve())})


@pytest.fixture
def layout(tmp_path, params) -> Layout:
    """What the stage prepare leaves for these parameters: 60 images."""
    layout = Layout(tmp_path / "artifacts")
    write_prepared(layout, ("NV", "DF"), ["NV", "DF"] * 30, params=of_images(params))
    return layout


@pytest.mark.parametrize(
    "values", [{}, {"data.max_bad_fraction": 0.5, "machine.workers": 3, "data.table.file": "my.csv", "noise.rate": 0.1}]
)
def test_images_serve_whatever_they_were_not_made_from(layout, params, values):
    assert Variants(layout, with_values(params, values, "test")).digest == "0" * 64


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"data.source": "isic2019"}, "prepared for data.source phantom, not isic2019; run `dvc repro noise` first"),
        ({"data.resize": "squash"}, "prepared for data.resize crop, not squash"),
        ({"data.image_size": 32}, "prepared for data.image_size 64, not 32"),
        ({"data.max_images": 100}, "prepared for data.max_images None, not 100"),
        ({"data.phantom.images": 160}, "prepared for data.phantom.images 2000, not 160"),
    ],
)
def test_images_that_were_prepared_otherwise_are_refused(layout, params, values: dict[str, Any], message: str):
    with pytest.raises(UserError) as error:
        Variants(layout, with_values(params, values, "test"))
    assert message in str(error.value)
    assert str(layout.data_report) in str(error.value)


def test_without_images_the_remedy_is_reported(layout, params):
    layout.data_report.unlink()
    with pytest.raises(UserError, match=r"report\.json: no such file; prepare the data first \(make repro\)"):
        Variants(layout, params)


def test_each_split_and_noise_has_its_own_data_made_once(layout, params):
    variants = Variants(layout, params)
    first = variants.prepared(params)
    assert variants.prepared(with_values(params, {"distillation.tau": 2.0}, "test")) is first
    noisier = variants.prepared(with_values(params, {"noise.rate": 0.6}, "test"))
    assert np.array_equal(noisier.split, first.split)
    assert (noisier.given != noisier.published).sum() > (first.given != first.published).sum() > 0
    elsewhere = variants.prepared(with_values(params, {"split.seed": 1}, "test"))
    assert not np.array_equal(elsewhere.split, first.split)
    assert np.array_equal(elsewhere.targets("test"), elsewhere.published[elsewhere.rows("test")])


@pytest.mark.parametrize("values", [{}, {"split.folds": 3, "split.fold": 2, "noise.kind": "pair", "subsets.seed": 5}])
def test_they_are_what_the_stages_make(layout, params, values):
    params = with_values(params, values, "test")
    for stage in (split, noise, subsets):
        stage.run(params, layout)
    made, varied = PreparedData(layout, params.task), Variants(layout, params)
    expected, found = made.prepared(params), varied.prepared(params)
    for name in ("task", "classes", "images", "sample_ids", "groups", "split", "given", "published"):
        assert np.array_equal(getattr(found, name), getattr(expected, name)), name
    assert varied.digest == made.digest
    for name, member in made.members(params).items():
        assert np.array_equal(varied.members(params)[name], member), name


def test_the_members_are_those_of_the_overlap_asked_for(layout, params):
    variants = Variants(layout, params)
    train = len(variants.prepared(params).rows("train"))
    for overlap, share in ((0.0, 0.2), (1.0, 1.0)):
        members = variants.members(with_values(params, {"subsets.overlap": overlap}, "test"))
        assert list(members) == list(params.teachers.architectures)
        assert [member.sum() for member in members.values()] == pytest.approx([share * train] * 5, abs=1)
