"""Weights from files: what is loaded, what is refused, and that nothing in a file is executed."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models import mobilenet_v2

from models.errors import WeightsError
from models.networks import build
from models.pretrained import load_backbone, read_state
from models.weights_file import weights_file

STATE = {"conv.weight": torch.arange(6.0).reshape(2, 3), "norm.running_mean": torch.tensor([0.5, -1.0])}


def small() -> nn.Module:
    network = nn.Module()
    network.conv, network.norm = nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4)
    network.fc = nn.Linear(4, 1000)
    return network


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
@pytest.mark.parametrize("old", [False, True])
def test_a_state_dict_of_torch_is_read_plain_or_wrapped(tmp_path, wrapper, old):
    path = tmp_path / "weights.pth"
    content = STATE if wrapper is None else {wrapper: STATE, "epoch": 3}
    torch.save(content, path, _use_new_zipfile_serialization=not old)
    assert same(read_state(path), STATE)


def test_a_safetensors_file_is_read(tmp_path):
    save_file(STATE, tmp_path / "weights.safetensors")
    assert same(read_state(tmp_path / "weights.safetensors"), STATE)


def cut(path: Path) -> None:
    save_file(STATE, path)
    path.write_bytes(path.read_bytes()[:-5])


def cut_legacy(path: Path) -> None:
    torch.save(STATE, path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes()[:7])


def cut_zip(path: Path) -> None:
    torch.save(STATE, path)
    path.write_bytes(path.read_bytes()[:-50])


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("w.safetensors", cut, "cannot be read"),
        ("w.safetensors", lambda path: path.write_bytes(b""), "cannot be read"),
        ("w.safetensors", lambda path: torch.save(STATE, path), "cannot be read"),
        ("w.pth", cut_zip, "cannot be read"),
        ("w.pth", lambda path: path.write_bytes(b""), r"cannot be read \(EOFError\)"),
        ("w.pth", lambda path: path.write_text("<!DOCTYPE html>"), r"cannot be read \(it holds more than tensors\)"),
        ("w.pth", cut_legacy, "cannot be read"),
        ("w.pth", lambda path: None, "cannot be read .*No such file"),
        ("w.pth", lambda path: torch.save(nn.Linear(2, 2), path), "nothing else in it: nothing is executed"),
        ("w.pth", lambda path: torch.save([1, 2], path), "holds no state dict"),
        ("w.pth", lambda path: torch.save({"epoch": 3}, path), "holds no state dict"),
        ("w.pth", lambda path: torch.save({3: torch.ones(1)}, path), "holds no state dict"),
    ],
)
def test_a_file_that_holds_no_weights_is_refused_by_name(tmp_path, name, make, message):
    path = tmp_path / name
    make(path)
    with pytest.raises(WeightsError, match=message) as error:
        read_state(path)
    assert str(error.value).startswith(f"weights {path}: ")


class Attack:
    """Its unpickling makes a folder."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize(
    "save",
    [
        lambda content, path: torch.save(content, path),
        lambda content, path: torch.save(content, path, _use_new_zipfile_serialization=False),
        lambda content, path: path.write_bytes(pickle.dumps(content, protocol=2)),
    ],
)
@pytest.mark.parametrize("wrap", [lambda attack: attack, lambda attack: STATE | {"extra": attack}])
def test_nothing_in_a_file_is_executed(tmp_path, save, wrap):
    marker, path = tmp_path / "executed", tmp_path / "weights.pth"
    save(wrap(Attack(marker)), path)
    with pytest.raises(WeightsError, match="cannot be read"):
        read_state(path)
    assert not marker.exists()
    pickle.loads(pickle.dumps(Attack(marker)))
    assert marker.exists()  # what a plain unpickler does


def test_a_backbone_takes_all_of_a_file_but_the_published_head(tmp_path):
    path, network, other = tmp_path / "weights.pth", small(), small()
    state = other.state_dict() | {"norm.running_mean": torch.ones(4), "fc.weight": torch.ones(7, 4)}
    del state["norm.num_batches_tracked"]  # older files have none
    torch.save(state, path)
    head = network.fc.weight.clone()
    load_backbone(network, path, ["fc"], "small")
    assert torch.equal(network.conv.weight, other.conv.weight)
    assert network.norm.running_mean.tolist() == [1] * 4
    assert torch.equal(network.fc.weight, head)


def test_the_name_of_a_head_is_not_taken_for_the_beginning_of_another(tmp_path):
    path, network = tmp_path / "weights.pth", small()
    network.fc_norm = nn.LayerNorm(4)
    torch.save({name: value for name, value in network.state_dict().items() if name != "fc_norm.bias"}, path)
    with pytest.raises(WeightsError, match=r"missing: fc_norm\.bias$"):
        load_backbone(network, path, ["fc"], "small")


@pytest.mark.parametrize(
    ("change", "listed"),
    [
        ({"conv.weight": None}, "missing: conv.weight"),
        ({"conv.bias": torch.ones(4)}, "surplus: conv.bias"),
        ({"norm.weight": torch.ones(5)}, "wrongly shaped: norm.weight (5,) instead of (4,)"),
        (
            {"conv.weight": None, "a": torch.ones(1), "norm.bias": torch.ones(2, 2)},
            "missing: conv.weight; surplus: a; wrongly shaped: norm.bias (2, 2) instead of (4,)",
        ),
        ({f"block.{i}": torch.ones(1) for i in range(5)}, "surplus: block.0, block.1, block.2 and 2 more"),
        (
            {f"norm.{name}": None for name in ("weight", "bias", "running_mean", "running_var")},
            "missing: norm.weight, norm.bias, norm.running_mean and 1 more",
        ),
    ],
)
def test_another_networks_file_is_refused_with_the_first_that_do_not_fit(tmp_path, change, listed):
    path, network = tmp_path / "weights.pth", small()
    torch.save({name: value for name, value in (network.state_dict() | change).items() if value is not None}, path)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(WeightsError) as error:
        load_backbone(network, path, ["fc"], "small")
    assert str(error.value) == f"weights {path}: are not those of small. {listed}"
    assert same(network.state_dict(), before)


@pytest.mark.parametrize("stem", ["imagenet", "small"])
def test_a_network_of_torchvision_starts_from_a_file_in_all_but_the_head(tmp_path, stem):
    published = mobilenet_v2()
    with torch.no_grad():
        for value in published.parameters():
            value.fill_(0.25)
    torch.save(published.state_dict(), tmp_path / "mobilenet_v2.pth")
    model = build("mobilenet_v2", num_classes=3, stem=stem, weights=str(tmp_path))
    assert all(bool((value == 0.25).all()) for value in model.backbone.parameters())
    assert not any(bool((value == 0.25).any()) for value in model.head.parameters())


def test_weights_of_another_network_of_torchvision_are_refused(tmp_path):
    torch.save(mobilenet_v2().state_dict(), tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"are not those of resnet18\. missing: conv1\.weight, .*surplus: features"):
        build("resnet18", num_classes=3, weights=str(tmp_path / "w.pth"))


def test_a_file_is_itself_whatever_its_name(tmp_path):
    (tmp_path / "mine.bin").touch()
    assert weights_file(str(tmp_path / "mine.bin"), "resnet18") == tmp_path / "mine.bin"


@pytest.mark.parametrize("architecture", ["resnet18", "timm:resnet18"])
def test_a_folder_gives_the_file_that_is_called_like_the_architecture(tmp_path, architecture):
    for name in ("resnet34.safetensors", "resnet18.bin", "resnet18.pth", "resnet18.txt"):
        (tmp_path / name).touch()
    assert weights_file(str(tmp_path), architecture) == tmp_path / "resnet18.pth"
    (tmp_path / "resnet18.safetensors").touch()
    assert weights_file(str(tmp_path), architecture) == tmp_path / "resnet18.safetensors"


def test_a_folder_without_the_networks_file_and_a_path_without_a_file_are_refused(tmp_path):
    (tmp_path / "resnet34.safetensors").touch()
    with pytest.raises(WeightsError, match=r"the folder has no resnet18\.safetensors \(or \.pth\) for timm:resnet18"):
        weights_file(str(tmp_path), "timm:resnet18")
    with pytest.raises(WeightsError, match="nowhere: no such file or folder; name one, or imagenet, or null"):
        weights_file(str(tmp_path / "nowhere"), "resnet18")
