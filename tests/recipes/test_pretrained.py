"""Pretrained weights in the keys of the store: by content, wherever the file is."""

import os
from pathlib import Path
from typing import Any

import pytest

from models.errors import WeightsError
from pipeline.params.learning import Network
from pipeline.recipes.pretrained import decisive, weights_identity


def network(weights: Path | str | None, **changes: Any) -> Network:
    given = {"architecture": "timm:test_resnet", "train": "head", "layers": {"head": "linear", "width": 1.0}} | changes
    return Network(weights=None if weights is None else str(weights), **given)


def test_no_weights_and_those_of_imagenet_are_their_own_names():
    assert weights_identity(network(None)) is None
    assert weights_identity(network("imagenet")) == "imagenet"


def test_a_file_counts_by_its_content_and_not_by_its_path(tmp_path):
    """The SHA-256 of three bytes, from the standard's own example."""
    first, copy, folder = tmp_path / "a.pth", tmp_path / "deep" / "b.bin", tmp_path / "weights"
    for path in (first, copy, folder / "test_resnet.safetensors"):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert {weights_identity(network(path)) for path in (first, copy, folder)} == {expected}
    assert decisive(network(first)) == decisive(network(folder))


def test_a_file_that_changes_in_place_counts_anew_even_at_the_same_size(tmp_path):
    path = tmp_path / "a.pth"
    found = []
    for second, content in enumerate((b"abc", b"abd", b"abc")):
        path.write_bytes(content)
        os.utime(path, (second, second))
        found.append(weights_identity(network(path)))
    assert found[0] == found[2] != found[1]


def test_weights_that_are_not_there_are_an_error(tmp_path):
    with pytest.raises(WeightsError, match="no such file or folder"):
        weights_identity(network(tmp_path / "a.pth"))
    with pytest.raises(WeightsError, match=r"the folder has no test_resnet\.safetensors"):
        weights_identity(network(tmp_path))


def test_what_decides_a_network_names_its_weights_by_content_and_its_layers(make_params):
    params = make_params(student={"weights": "imagenet", "width": 1.0, "head": "mlp", "hidden": 64, "dropout": 0.3})
    assert decisive(params.student_network) == {
        "architecture": "resnet18", "weights": "imagenet", "train": "all", "stem": "imagenet", "width": 1.0,
        "head": "mlp", "hidden": 64, "dropout": 0.3, "image_size": 64,
    }  # fmt: skip
