"""Loss surfaces: directions as long as the weights, and surfaces that are known in closed form."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.networks import build
from pipeline.evaluation.landscape import (
    UndefinedLossError,
    Weights,
    axis,
    direction,
    image_losses,
    loss_at,
    slice_along,
    slice_points,
    surface_row,
)

FIRST, SECOND = {"w": torch.tensor([[1.0, 0.0]])}, {"w": torch.tensor([[0.0, 2.0]])}


def parabola(weights: Weights) -> Iterator[Tensor]:
    """3 w_0^2 + w_0 w_1 + w_1^2 as the mean of two images, in two blocks."""
    x, y = weights["w"][0]
    yield (6 * x * x).view(1)
    yield (2 * x * y + 2 * y * y).view(1)


def network() -> nn.Module:
    torch.manual_seed(0)
    return build("resnet18", num_classes=3, width=0.125).eval()


def trained(model: nn.Module) -> dict[str, Tensor]:
    return {name: weight.detach() for name, weight in model.named_parameters()}


def test_the_surface_of_a_quadratic_is_that_quadratic():
    centre, steps = {"w": torch.tensor([[0.5, -1.0]])}, axis(0.8, 5)
    assert steps == pytest.approx([-0.8, -0.4, 0.0, 0.4, 0.8])
    rows = [surface_row(parabola, centre, [FIRST, SECOND], steps, float(step), clamp=100.0) for step in steps]
    x, y = 0.5 + steps[:, None], -1.0 + 2 * steps[None, :]
    assert np.array(rows) == pytest.approx(3 * x**2 + x * y + y**2, rel=1e-6)
    along = slice_along(parabola, centre, SECOND, axis(0.8, 9), clamp=100.0)
    y = -1.0 + 2 * axis(0.8, 9)
    assert along == pytest.approx(0.75 + 0.5 * y + y**2, rel=1e-6)


def test_high_losses_are_clamped_and_the_centre_is_the_trained_network():
    at = {"w": torch.tensor([[2.0, 0.0]])}
    assert surface_row(parabola, at, [FIRST, SECOND], np.array([0.0, 1.0]), 0.0, clamp=13.0) == [12.0, 13.0]
    infinite = {"w": torch.tensor([[np.inf, 1.0]])}
    assert loss_at(parabola, infinite, [], [], clamp=8.0) == 8.0


def test_nan_is_an_error_that_says_where():
    with pytest.raises(UndefinedLossError, match=r"the loss is NaN at the steps inf, -1$") as error:
        loss_at(parabola, {"w": torch.tensor([[0.0, 0.0]])}, [FIRST, SECOND], (np.inf, -1.0), clamp=8.0)
    assert error.value.steps == (np.inf, -1.0)


@pytest.mark.parametrize(("radius", "points"), [(1.0, 3), (0.7, 51), (1e-3, 201)])
def test_an_axis_is_symmetric_and_has_the_trained_weights_in_its_middle(radius, points):
    steps = axis(radius, points)
    assert len(steps) == points
    assert steps[points // 2] == 0.0
    assert (steps == -steps[::-1]).all()
    assert steps[-1] == radius
    assert set(steps) <= set(axis(radius, slice_points(points)))


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_every_filter_of_a_direction_is_as_long_as_that_of_the_weights(name):
    torch.manual_seed(0)
    weights = trained(build(name, num_classes=3, width=0.25))
    drawn = direction(weights, seed=3, number=1)
    filters = [name for name, weight in weights.items() if weight.ndim > 1]
    assert len(filters) > 20
    for name in filters:
        assert drawn[name].shape == weights[name].shape
        torch.testing.assert_close(drawn[name].flatten(1).norm(dim=1), weights[name].flatten(1).norm(dim=1))
    first, own = (one[filters[0]].flatten() for one in (drawn, weights))
    assert abs(F.cosine_similarity(first, own, dim=0)) < 0.2


def test_biases_and_batch_norm_do_not_move():
    weights = trained(network())
    drawn = direction(weights, seed=0, number=1)
    still = {name for name, weight in weights.items() if weight.ndim < 2}
    assert {"backbone.bn1.weight", "backbone.bn1.bias", "head.bias"} <= still
    assert {name for name, one in drawn.items() if not one.any()} == still


def test_a_filter_of_zeros_stays_zero():
    drawn = direction({"w": torch.tensor([[0.0, 0.0], [3.0, 4.0]])}, seed=0, number=1)["w"]
    assert drawn[0].tolist() == [0.0, 0.0]
    assert drawn[1].norm().item() == pytest.approx(5.0)


def test_networks_of_one_architecture_get_the_same_draws():
    """Up to the lengths of their filters, whatever the order of the weights."""
    one = {"a": torch.ones(4, 6), "b": torch.ones(2, 6)}
    other = {"b": 3 * torch.ones(2, 6), "a": 0.5 * torch.ones(4, 6)}
    first, second = direction(one, 0, 1), direction(other, 0, 1)
    torch.testing.assert_close(second["a"], 0.5 * first["a"])
    torch.testing.assert_close(second["b"], 3 * first["b"])
    assert all((direction(one, 0, 1)[name] == first[name]).all() for name in one)
    for seed, number in ((1, 1), (0, 2)):
        assert not torch.isclose(direction(one, seed, number)["a"], first["a"]).any()
    assert not torch.isclose(first["a"][:2], first["b"]).any()


def test_blocks_give_what_one_image_after_the_other_gives_and_what_the_network_says():
    model, drawn = network(), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for part in model.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.running_mean.normal_(0, 0.1, generator=drawn)  # type: ignore[union-attr]
    pixels, targets = torch.rand(5, 3, 32, 32, generator=drawn), torch.tensor([0, 1, 2, 0, 1])
    before = {name: value.clone() for name, value in model.state_dict().items()}

    def criterion(logits: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(logits, targets, reduction="none")

    weights = trained(model)
    directions = [direction(weights, 0, number) for number in (1, 2)]
    of_blocks = {
        size: image_losses(model.train(), criterion, list(zip(pixels.split(size), targets.split(size), strict=True)))
        for size in (1, 2, 5)
    }
    found = {
        size: [loss_at(losses, weights, directions, steps, clamp=1e9) for steps in ((0.0, 0.0), (0.3, -0.2))]
        for size, losses in of_blocks.items()
    }
    assert found[2] == pytest.approx(found[5], rel=1e-5)
    assert found[1] == pytest.approx(found[5], rel=1e-5)
    with torch.no_grad():
        expected = F.cross_entropy(model.eval()(pixels), targets).item()
        assert found[5][0] == pytest.approx(expected, rel=1e-6)
        model.load_state_dict(
            before | {name: weights[name] + 0.3 * directions[0][name] - 0.2 * directions[1][name] for name in weights}
        )
        assert found[5][1] == pytest.approx(F.cross_entropy(model(pixels), targets).item(), rel=1e-5)
    assert all((before[name] == model.state_dict()[name]).all() for name in before if name not in weights)
