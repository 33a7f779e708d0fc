"""The networks that the parameters ask for: teachers by name, their heads, and what goes into each."""

import pytest

from pipeline.common.errors import UserError
from pipeline.params.learning import Network

PRETRAINED = {"weights": "imagenet", "width": 1.0, "train": "head"}


def test_a_teachers_name_is_its_network_without_the_library_and_its_number_of_partition(make_params):
    architectures = ["resnet18", "timm:test_resnet.r160_in1k"]
    params = make_params(teachers={"architectures": architectures, "width": 1.0}, subsets={"partitions": 2})
    assert params.teacher_names("full") == ("resnet18", "test_resnet.r160_in1k")
    assert params.teacher_names("subset") == (
        "resnet18", "test_resnet.r160_in1k", "resnet18-p2", "test_resnet.r160_in1k-p2",
    )  # fmt: skip
    assert params.teacher_names(None) == ()
    assert [network.architecture for network in params.teacher_networks("subset").values()] == 2 * architectures
    assert params.networks == (*params.teacher_networks("full").values(), params.student_network)


def test_one_backbone_with_several_heads_is_as_many_teachers(make_params):
    heads = ["linear", 128, 256, 128, "linear", 128]
    teachers = {"architectures": ["resnet18", "timm:a"], "heads": heads, "head": "mlp", "hidden": 9, "dropout": 0.1}
    params = make_params(teachers=teachers | PRETRAINED, subsets={"partitions": 2})
    of_first = ["linear", "128", "256", "128.2", "linear.2", "128.3"]
    expected = [f"{base}-{head}" for base in ("resnet18", "a") for head in of_first]
    assert params.teacher_names("full") == tuple(expected)
    assert params.teacher_names("subset") == (*expected, *(f"{name}-p2" for name in expected))
    networks = params.teacher_networks("full")
    assert {network.architecture for name, network in networks.items() if name.startswith("a-")} == {"timm:a"}
    shape = {name: (network.layers["head"], network.layers["hidden"]) for name, network in networks.items()}
    assert [shape[f"a-{head}"] for head in ("linear", "128", "256", "128.3")] == [
        ("linear", 9), ("mlp", 128), ("mlp", 256), ("mlp", 128),
    ]  # fmt: skip
    assert {network.layers["dropout"] for network in networks.values()} == {0.1}


def test_a_network_has_the_layers_of_its_section_and_the_size_of_the_images(make_params):
    student = {"architecture": "timm:a", "head": "mlp", "hidden": 9, "dropout": 0.1} | PRETRAINED
    params = make_params(student=student, data={"image_size": 96})
    assert params.student_network == Network(
        "timm:a", "imagenet", "head",
        {"stem": "imagenet", "width": 1.0, "head": "mlp", "hidden": 9, "dropout": 0.1, "image_size": 96},
    )  # fmt: skip
    assert {network.train for network in params.teacher_networks("full").values()} == {"all"}
    assert {network.layers["width"] for network in params.teacher_networks("full").values()} == {0.25}


@pytest.mark.parametrize("section", ["teachers", "student"])
def test_heads_on_stored_features_cannot_be_taught_online(make_params, section):
    online = {"distillation": {"soft_labels": "online"}}
    assert make_params(**online).distillation.soft_labels == "online"
    with pytest.raises(UserError, match=r"is online, but teachers\.train or student\.train is head: .* to stored$"):
        make_params(**{section: PRETRAINED}, **online)
