"""Where images are near each other: what the served student's head sees of the clean images."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from models.classifier import save_weights
from models.networks import build
from pipeline.common.layout import Layout
from pipeline.data.prepared import Prepared
from pipeline.recipes.embedding import embedding
from pipeline.recipes.store import Store
from pipeline.recipes.workshop import Workshop
from tests.models.made_weights import made_weights, tiny

N, SIDE = 9, 32
IMAGES = np.random.default_rng(0).integers(0, 256, (N, SIDE, SIDE, 3), dtype=np.uint8)


@pytest.fixture
def workshop(tmp_path) -> Workshop:
    names, labels = np.arange(N).astype(str), np.arange(N) % 2
    split = np.array(["train", "val", "test"])[np.arange(N) % 3]
    given = Prepared("multiclass", ("a", "b"), IMAGES, names, names, split, labels, labels)
    data: Any = SimpleNamespace(digest="d", prepared=lambda params: given)
    return Workshop(data, Store(tmp_path / "store"))


def pixels() -> torch.Tensor:
    return torch.from_numpy(IMAGES).permute(0, 3, 1, 2) / 255


@pytest.mark.parametrize(
    ("methods", "place"),
    [
        (["baseline_1", "roskd", "gce"], (5, "subset", "baseline_5", "smoothed")),
        (["baseline_1", "baseline_2"], (5, "full", "baseline_2", "last")),
        (["baseline_1", "early_stopped"], (5, None, "baseline_1", "selected")),
    ],
)
def test_a_student_trained_whole_shows_what_the_served_ones_head_sees(make_params, workshop, tmp_path, methods, place):
    """Of the first seed; all images, unaugmented, in their order."""
    params = make_params(
        methods=methods, seeds=[5, 6], data={"image_size": SIDE}, student={"width": 0.125}, machine={"device": "cpu"}
    )
    network, layout = params.student_network, Layout(tmp_path)
    torch.manual_seed(0)
    student = build(network.architecture, num_classes=2, **network.layers)
    path = layout.student_weights(*place)
    path.parent.mkdir(parents=True)
    save_weights(student.state_dict(), path)
    found = embedding(workshop, params, layout)
    with torch.no_grad():
        expected = student.eval().features(pixels()).numpy()
    assert found.shape == (N, student.num_features)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_a_head_shows_its_backbones_features_of_the_clean_images(make_params, workshop, tmp_path):
    """float16 has a relative precision of 2^-11."""
    weights: Path = made_weights(tmp_path / "test_resnet.safetensors")
    head = {"architecture": "timm:test_resnet", "weights": str(weights), "train": "head", "width": 1.0}
    params = make_params(student=head, views={"preset": "lesion"}, machine={"device": "cpu"})
    backbone = tiny()
    backbone.reset_classifier(0)
    with torch.no_grad():
        expected = backbone((pixels() - 0.5) / 0.5).numpy()
    found = np.asarray(embedding(workshop, params, Layout(tmp_path)))
    np.testing.assert_allclose(found.astype(np.float32), expected, rtol=2**-10, atol=1e-5)
