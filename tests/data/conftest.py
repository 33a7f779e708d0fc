"""Fixtures of the readers' tests."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml.comments import CommentedMap

from pipeline.params.overlay import merge
from pipeline.params.tree import Params
from pipeline.stages.preset import read_preset
from tests.data.own_table import make_folder


@pytest.fixture
def folder(tmp_path) -> Path:
    """Four pictures of one's own in a folder with a space in its name."""
    return make_folder(tmp_path / "my data")


@pytest.fixture(scope="session")
def preset_params(make_params) -> Callable[..., Params]:
    """Return a function that gives the parameters of a preset with other values, at 32 pixels."""

    def make(preset: str, **sections: Any) -> Params:
        tree = CommentedMap(read_preset(preset))
        merge(tree, {"data": {"image_size": 32}})
        merge(tree, sections)
        return make_params(**tree)

    return make


@pytest.fixture(scope="session")
def params_of(preset_params) -> Callable[..., Params]:
    """Return a function that gives the parameters which read a folder of one's own; `table`: its columns."""

    def make(path: Path, task: str = "multiclass", **table: Any) -> Params:
        return preset_params("own-images", task=task, data={"path": str(path), "table": table})

    return make
