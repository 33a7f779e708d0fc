"""Fixtures of the readers' tests."""

from pathlib import Path

import pytest

from tests.data.own_table import make_folder


@pytest.fixture
def folder(tmp_path) -> Path:
    """Four pictures of one's own in a folder with a space in its name."""
    return make_folder(tmp_path / "my data")
