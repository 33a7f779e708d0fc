"""Which files are images, in which order, and what is said where there are none."""

import os
from pathlib import Path

import pytest

from pipeline.common.errors import UserError
from pipeline.predict.inputs import find_images


@pytest.fixture
def tree(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("b/2.JPG", "b/10.png", "b/ward 3/x.tiff", "a.bmp", "b/notes.txt", "b/.hidden.png", "b/.git/y.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    (tmp_path / "b/1.2.840.113619").write_bytes(bytes(128) + b"DICM")
    os.mkfifo(tmp_path / "b/pipe.png")
    (tmp_path / "none").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["b"], ["b/1.2.840.113619", "b/10.png", "b/2.JPG", "b/ward 3/x.tiff"]),
        (["b/notes.txt", "a.bmp"], ["b/notes.txt", "a.bmp"]),
        (["b/2.JPG", "b/*"], ["b/2.JPG", "b/1.2.840.113619", "b/10.png", "b/ward 3/x.tiff"]),
        (["**/*.tiff"], ["b/ward 3/x.tiff"]),
        (["?.bmp", "a.bmp"], ["a.bmp"]),
    ],
)
def test_images_come_once_in_the_order_of_the_arguments(tree, arguments, found):
    assert find_images(arguments) == found


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("none", r"none: holds no image; files called \.jpg, .* Name another folder"),
        ("*.gif", r"\*\.gif: holds no image"),
        ("lost.png", r"lost\.png: no such file or folder; name image files, folders, or a pattern in quotes"),
    ],
)
def test_what_names_no_image_is_refused(tree, argument, message):
    with pytest.raises(UserError, match=message):
        find_images(["a.bmp", argument])
