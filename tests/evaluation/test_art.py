"""FGSM and PGD against the Adversarial Robustness Toolbox, where that is installed (docs/robustness.md says how)."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from models.classifier import Classifier
from models.networks import build
from pipeline.evaluation.attacks import answer, fgsm, input_gradient, pgd
from pipeline.evaluation.budgets import lengths
from pipeline.evaluation.goals import Goal

evasion = pytest.importorskip("art.attacks.evasion")
estimators = pytest.importorskip("art.estimators.classification")

N, SIDE, C = 256, 32, 4
ORDER: dict[Any, Any] = {"l2": 2, "linf": np.inf}


@pytest.fixture(scope="module")
def network() -> Classifier:
    """A small ResNet that nobody trained, whose answers differ from image to image."""
    torch.manual_seed(0)
    found = build("resnet18", num_classes=C, width=0.125).eval().requires_grad_(False)
    found.head.weight.mul_(3)  # type: ignore[operator]
    return found


@pytest.fixture(scope="module")
def images() -> Tensor:
    drawn = np.random.default_rng(0).uniform(size=(N, 3, SIDE, SIDE))
    return torch.from_numpy(drawn.astype(np.float32))


def theirs(network: Classifier) -> Any:
    return estimators.PyTorchClassifier(
        network, torch.nn.CrossEntropyLoss(), (3, SIDE, SIDE), C, clip_values=(0.0, 1.0), device_type="cpu"
    )


@pytest.mark.parametrize(("norm", "eps"), [("l2", 0.5), ("l2", 1.0), ("linf", 2 / 255), ("linf", 8 / 255)])
def test_the_same_images_and_the_same_success(network, images, norm, eps):
    """FGSM to 1e-5, PGD from the clean images to half a point of the images whose class is turned."""
    targets = answer(network, images).argmax(dim=1)
    goal, labels = Goal("multiclass", targets), np.eye(C)[targets.numpy()]
    _, gradient = input_gradient(network, images, goal)
    assert lengths(gradient).min() > 1e-3, "the toolbox adds 1e-7 to a gradient's norm"
    once = evasion.FastGradientMethod(theirs(network), norm=ORDER[norm], eps=eps).generate(images.numpy(), labels)
    np.testing.assert_allclose(fgsm(network, images, goal, norm, eps), once, atol=1e-5)
    climbed = evasion.ProjectedGradientDescent(
        theirs(network), norm=ORDER[norm], eps=eps, eps_step=2.5 * eps / 20, max_iter=20, verbose=False
    ).generate(images.numpy(), labels)
    ours = pgd(network, images, goal, norm, eps, steps=20)
    success = [
        float((answer(network, made).argmax(dim=1) != targets).float().mean())
        for made in (ours, torch.from_numpy(climbed))
    ]
    assert success[0] > 0.02
    assert success[0] == pytest.approx(success[1], abs=0.005)
