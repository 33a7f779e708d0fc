"""A study begins with images that were prepared for its own parameters, or not at all."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.common import layout as artifacts
from pipeline.common.errors import UserError
from pipeline.data.variants import StudyData
from pipeline.params.file import load, with_values
from pipeline.params.tree import Params, of_images


@pytest.fixture
def params(tmp_path, monkeypatch) -> Params:
    """The parameters of params.yaml, and what the stage prepare leaves for them: one image."""
    params = load()
    monkeypatch.chdir(tmp_path)
    artifacts.DATA_REPORT.parent.mkdir(parents=True)
    report = {"params": of_images(params), "classes": ["NV", "DF"], "sha256": "0" * 64}
    artifacts.DATA_REPORT.write_text(json.dumps(report))
    artifacts.SAMPLES.write_text("sample_id,group_id,label\na,l1,NV\n")
    np.save(artifacts.IMAGES, np.zeros((1, 32, 32, 3), dtype=np.uint8))
    return params


@pytest.mark.parametrize(
    "values", [{}, {"data.max_bad_fraction": 0.5, "data.workers": 3, "data.table.file": "my.csv", "noise.rate": 0.1}]
)
def test_images_serve_whatever_they_were_not_made_from(params, values):
    assert StudyData(with_values(params, values, "test")).digest == "0" * 64


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"data.source": "isic2019"}, "prepared for data.source phantom, not isic2019; run `dvc repro noise` first"),
        ({"data.resize": "squash"}, "prepared for data.resize crop, not squash"),
        ({"data.image_size": 64}, "prepared for data.image_size 32, not 64"),
        ({"data.max_images": 100}, "prepared for data.max_images None, not 100"),
        ({"data.phantom.images": 160}, "prepared for data.phantom.images 1600, not 160"),
    ],
)
def test_images_that_were_prepared_otherwise_are_refused(params, values: dict[str, Any], told: str):
    with pytest.raises(UserError) as error:
        StudyData(with_values(params, values, "test"))
    assert told in str(error.value)
    assert str(Path("artifacts/data/report.json")) in str(error.value)


def test_without_images_the_remedy_is_told(params):
    artifacts.DATA_REPORT.unlink()
    with pytest.raises(UserError, match="no such file, a study needs the prepared images; run `dvc repro"):
        StudyData(params)
