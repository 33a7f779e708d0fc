"""What all tests share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.params.file import read_yaml, validate
from pipeline.params.tree import Params

REPOSITORY = Path(__file__).parents[1]
REPLACED = ("space", "grids")
"""Tables whose entries are a test's own, not laid over those of params.yaml."""


@pytest.fixture(scope="session")
def make_params() -> Callable[..., Params]:
    """Return a function that gives the repository's parameters with other values: make_params(noise={"rate": 0.1})."""

    def make(**sections: Any) -> Params:
        tree = read_yaml(REPOSITORY / "params.yaml")
        _lay_over(tree, sections)
        return validate(tree, "test")

    return make


def _lay_over(tree: dict[str, Any], changes: dict[str, Any]) -> None:
    for name, value in changes.items():
        if isinstance(value, dict) and name not in REPLACED:
            _lay_over(tree[name], value)
        else:
            tree[name] = value
