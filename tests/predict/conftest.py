"""A student whose answers are known, and a folder of images for it."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tests.models.made_student import write_student

__all__ = ["write_student"]

COLOURS = ("red", "lime", "blue")


@pytest.fixture
def folder(tmp_path) -> Path:
    """Images a00.png, a01.png, … of the colours in turn, a file that is none, and one of another name."""
    path = tmp_path / "images"
    path.mkdir()
    for i in range(70):
        Image.new("RGB", (20, 10), COLOURS[i % 3]).save(path / f"a{i:02}.png")
    (path / "a30.png").write_text("no image")
    (path / "labels.csv").write_text("image,label\n")
    return path


@pytest.fixture
def onnx(write_student: Callable[..., Path]) -> Path:
    """The path of the student, a multiclass one."""
    return write_student()
