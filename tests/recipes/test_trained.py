"""A trained student as a whole: from pixels to logits, also where only its head was trained."""

from pathlib import Path

import numpy as np
import pytest
import torch

from models.classifier import save_weights
from models.errors import WeightsError
from models.heads import HeadAlone, head_layers
from models.inference import to_pixels
from models.networks import build
from pipeline.common.layout import Layout
from pipeline.recipes.trained import trained_student, weights_of
from tests.models.made_weights import made_weights, tiny

SIDE = 32
IMAGES = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (4, SIDE, SIDE, 3), dtype=np.uint8))


def save(model: torch.nn.Module, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_weights(model.state_dict(), path)


def test_each_method_is_measured_with_its_own_weights(tmp_path):
    layout = Layout(tmp_path)
    assert weights_of(layout, 3, "roskd") == layout.student_weights(3, "subset", "baseline_5", "smoothed")
    assert weights_of(layout, 3, "early_stopped") == layout.student_weights(3, None, "baseline_1", "selected")


def test_a_network_that_was_trained_whole(make_params, tmp_path):
    params, layout = make_params(data={"image_size": SIDE}, student={"width": 0.125}), Layout(tmp_path)
    torch.manual_seed(1)
    saved = build("resnet18", num_classes=3, **params.student_network.layers)
    save(saved, weights_of(layout, 0, "baseline_3"))
    found = trained_student(params, layout, 0, "baseline_3", 3)
    assert not found.training
    with torch.no_grad():
        torch.testing.assert_close(found(to_pixels(IMAGES)), saved.eval()(to_pixels(IMAGES)))
    with pytest.raises(WeightsError, match="another network than the one asked for"):
        trained_student(params, layout, 0, "baseline_3", 4)
    with pytest.raises(WeightsError, match="no such file"):
        trained_student(params, layout, 1, "baseline_3", 3)


def test_a_head_stands_on_the_frozen_backbone(make_params, tmp_path):
    weights = made_weights(tmp_path / "test_resnet.safetensors")
    student = {
        "architecture": "timm:test_resnet",
        "weights": str(weights),
        "train": "head",
        "width": 1.0,
        "head": "mlp",
    }
    params, layout = make_params(student=student, data={"image_size": SIDE}), Layout(tmp_path)
    backbone = tiny()
    backbone.reset_classifier(0)
    with torch.no_grad():
        features = backbone((to_pixels(IMAGES) - 0.5) / 0.5)
    head = HeadAlone(head_layers(features.shape[1], 2, kind="mlp", hidden=256))
    save(head, weights_of(layout, 0, "roskd"))
    found = trained_student(params, layout, 0, "roskd", 2)
    with torch.no_grad():
        torch.testing.assert_close(found(to_pixels(IMAGES)), head(features), rtol=1e-4, atol=1e-5)
