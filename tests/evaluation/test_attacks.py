"""FGSM and PGD against closed forms: the exact worst case of linear networks, budgets kept to the last bit."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pipeline.common.errors import UserError
from pipeline.evaluation.attacks import fgsm, input_gradient, pgd, zero_gradients
from pipeline.evaluation.budgets import exact, random_starts, steepest
from pipeline.evaluation.goals import Goal, cuts_of
from tests.evaluation.linear import SHAPE, Linear, Masked, draws_of, greys, linear

NORMS = ("l2", "linf")


def sizes(attacked: Tensor, images: Tensor, norm: str) -> Tensor:
    """The norms of perturbations, computed in float64 from the float32 images."""
    moved = (attacked.double() - images.double()).flatten(1)
    return moved.abs().amax(dim=1) if norm == "linf" else moved.square().sum(dim=1).sqrt()


def ways_of(network: Linear, targets: Tensor) -> Tensor:
    """For two classes: the direction in which the wrong class gains, (B, 60)."""
    flat = network.flat.double()
    return torch.where(targets[:, None] == 0, flat[1] - flat[0], flat[0] - flat[1])


def lead(network: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    """By how much the wrong one of two classes is ahead, in float64."""
    logits = network(images).double()
    return torch.where(targets == 0, logits[:, 1] - logits[:, 0], logits[:, 0] - logits[:, 1])


@pytest.mark.parametrize(("norm", "eps"), [("l2", 0.25), ("l2", 0.6), ("linf", 8 / 255), ("linf", 0.25)])
def test_both_attacks_reach_the_worst_case_of_a_linear_network(norm, eps):
    """By eps |w| in L2, by eps times the sum of |w| in L-infinity: the dual norms."""
    network, images, targets = linear(), greys(6), torch.tensor([0, 1, 1, 0, 1, 0])
    goal, way = Goal("multiclass", targets), ways_of(network, targets)
    gain = eps * (way.norm(dim=1) if norm == "l2" else way.abs().sum(dim=1))
    worst = lead(network, images, targets) + gain
    once = fgsm(network, images, goal, norm, eps)
    climbed = pgd(network, images, goal, norm, eps, steps=40, restarts=2, draws=draws_of(6))
    from_clean = pgd(network, images, goal, norm, eps, steps=10)
    np.testing.assert_allclose(lead(network, once, targets), worst, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(lead(network, from_clean, targets), worst, rtol=1e-5, atol=1e-5)
    reached = (lead(network, climbed, targets) - lead(network, images, targets)) / gain
    assert (reached <= 1 + 1e-5).all()
    assert (reached > (0.9 if norm == "l2" else 0.999)).all(), "from a random point the way round a ball is long"


def test_black_and_white_bound_the_worst_case_in_linf():
    """Each pixel goes as far as eps or the end of [0, 1] allows."""
    network, targets = linear(), torch.tensor([0, 1, 0])
    images = greys(3, 0.0, 1.0)
    wanted = (images + 0.25 * ways_of(network, targets).sign().view_as(images)).clamp(0, 1)
    for made in (
        fgsm(network, images, Goal("multiclass", targets), "linf", 0.25),
        pgd(network, images, Goal("multiclass", targets), "linf", 0.25, steps=10, draws=draws_of(3)),
    ):
        np.testing.assert_allclose(made, wanted, atol=1e-6)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("eps", [1e-4, 0.005, 1 / 255, 0.3, 5.0])
def test_budgets_and_pixels_are_kept_exactly(norm, eps):
    """Also where float32 would round away from the clean image, and for images that are black and white."""
    images = greys(8, 0.0, 1.0)
    images[0], images[1], images[2, :, ::2] = 0, 1, 1
    goal = Goal("multiclass", torch.arange(8) % 3)
    for made in (
        fgsm(linear(3), images, goal, norm, eps),
        pgd(linear(3), images, goal, norm, eps, steps=3, restarts=2, draws=draws_of(8)),
        exact(images + 7 * torch.randn_like(images), images, norm, eps),
    ):
        assert (sizes(made, images, norm) <= eps).all()
        assert made.min() >= 0
        assert made.max() <= 1
    moved = sizes(exact(images + 7 * torch.randn_like(images), images, norm, eps), images, norm)
    assert (moved > 0.99 * min(eps, 0.5)).all(), "no more is lost than a rounding, or the ends of [0, 1]"


@pytest.mark.parametrize("norm", NORMS)
def test_random_starts_fill_the_ball(norm):
    """In n dimensions a radius is below r eps with probability r^n; in L-infinity each pixel is even on its own."""
    images, eps = torch.full((400, 1, 1, 2), 0.5), 0.25
    points = random_starts(images, norm, eps, draws_of(400)(0)) - images
    radii = sizes(points, torch.zeros_like(points), norm)
    assert (radii <= eps * (1 + 1e-6)).all()
    share = float((radii < eps / 2).float().mean())
    assert share == pytest.approx(0.25, abs=4 * math.sqrt(0.25 * 0.75 / 400))
    assert points.mean().abs() < 4 * eps / math.sqrt(800)


def test_the_steepest_way_of_tiny_gradients_is_not_lost():
    gradients = torch.tensor([3e-30, 4e-30, 0, 0, 0, 0]).view(2, 1, 1, 3)
    assert steepest(gradients, "l2").flatten().tolist() == pytest.approx([0.6, 0.8, 0, 0, 0, 0])
    assert steepest(gradients, "linf").flatten().tolist() == [1, 1, 0, 0, 0, 0]


def test_figures_are_those_of_the_seed_and_the_image_whatever_batch_it_is_in():
    network, images, targets = linear(3), greys(6), torch.arange(6) % 3

    def made(rows: list[int], seed: int = 0) -> Tensor:
        drawn = draws_of(6, seed)
        return pgd(
            network, images[rows], Goal("multiclass", targets[rows]), "l2", 0.3, steps=2, restarts=2,
            draws=lambda restart: [drawn(restart)[row] for row in rows],
        )  # fmt: skip

    whole = made([0, 1, 2, 3, 4, 5])
    assert torch.equal(whole, made([0, 1, 2, 3, 4, 5]))
    np.testing.assert_allclose(made([4, 2]), whole[[4, 2]], atol=1e-6)
    assert not torch.equal(whole, made([0, 1, 2, 3, 4, 5], seed=1))


class Counting(nn.Module):
    """Counts the images that a network has answered."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.answered = network, 0

    def forward(self, pixels: Tensor) -> Tensor:
        self.answered += len(pixels)
        return self.network(pixels)


def test_fooled_samples_are_left_out_of_further_restarts():
    """Of four images one class is out of reach in two: they alone are tried three times."""
    network = Counting(Linear(torch.zeros(2, 60), torch.tensor([1.0, 0.0])))
    goal = Goal("multiclass", torch.tensor([0, 1, 0, 1]))
    pgd(network, greys(4), goal, "linf", 0.1, steps=5, restarts=3, draws=draws_of(4))
    assert network.answered == (4 + 2 + 2) * 6


def test_a_sample_that_is_fooled_on_the_way_stays_fooled():
    """The loss of the last point may be lower than that of one before it: the worst counts."""

    class Valley(nn.Module):
        """Wrong only where the mean is within 0.5 and 0.52, with a gradient that leads past it."""

        def forward(self, pixels: Tensor) -> Tensor:
            mean = pixels.flatten(1).mean(dim=1)
            wrong = torch.where((mean > 0.5) & (mean < 0.52), 1.0, -1.0)
            return torch.stack([torch.zeros_like(mean), wrong + 1e-3 * mean], dim=1)

    images = torch.full((1, *SHAPE), 0.49)
    made = pgd(Valley(), images, Goal("multiclass", torch.tensor([0])), "linf", 0.1, steps=20)
    assert Valley()(made).argmax().item() == 1


def test_several_findings_are_all_attacked():
    """BCE ascends where a present finding falls and an absent one rises: each by its dual norm in turn."""
    flat = torch.zeros(2, 60)
    flat[0, :30], flat[1, 30:] = 1.0, -2.0
    network, images = Linear(flat, torch.tensor([-15.0, 30.0])), torch.full((2, *SHAPE), 0.5)
    targets = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    goal = Goal("multilabel", targets, torch.zeros(2))
    made = fgsm(network, images, goal, "linf", 0.1)
    signs = torch.tensor([[-1.0, 1.0], [1.0, -1.0]])
    assert torch.allclose(network(made) - network(images), signs * torch.tensor([3.0, 6.0]), atol=1e-4)
    assert goal.turned(network(made)).tolist() == [2, 2]


@pytest.mark.parametrize("on", [True, False])
def test_one_finding_is_switched_and_the_others_are_left(on):
    """The other finding depends on other pixels, which have no reason to move."""
    flat = torch.zeros(2, 60)
    flat[0, :30], flat[1, 30:] = 1.0, 1.0
    network, images = Linear(flat, torch.tensor([-15.0, -15.0])), torch.full((1, *SHAPE), 0.5)
    goal = Goal("multilabel", torch.zeros(1, 2), torch.tensor([0.5, 0.5]), finding=0, on=on)
    made = pgd(network, images, goal, "l2", 0.2, steps=10)
    expected = math.sqrt(30) * 0.2 * (1 if on else -1)
    assert network(made)[0].tolist() == pytest.approx([expected, 0.0], abs=1e-4)
    assert goal.decisions == 1
    assert goal.turned(network(made)).tolist() == [1]
    assert goal.turned(torch.tensor([[0.5, 9.0], [0.4, 9.0]])).tolist() == ([1, 0] if on else [0, 1])


def test_decisions_are_those_of_the_thresholds():
    cuts = torch.from_numpy(cuts_of(np.array([0.2, 0.5, 1.0, 0.0])))
    assert cuts[:2].tolist() == pytest.approx([math.log(0.25), 0])
    assert cuts[2] > 20
    assert cuts[3] < -20
    goal = Goal("multilabel", torch.tensor([[1.0, 0, 1, 0]]), cuts)
    logits = torch.tensor([[-1.0, 1.0, 9.0, 0.0]])  # called, called, not called, called
    assert goal.decisions == 4
    assert goal.turned(logits).tolist() == [3]
    short = [-1 - math.log(0.25), 0, 0, 0]
    assert goal.closeness(logits).tolist() == pytest.approx([-sum(short) / 4])
    single = Goal("multiclass", torch.tensor([2, 0]))
    logits = torch.tensor([[1.0, 4.0, 6.0], [1.0, 4.0, 6.0]])
    assert single.turned(logits).tolist() == [0, 1]
    assert single.closeness(logits).tolist() == [-2, 0]


def test_zero_gradients_are_counted_by_image():
    flat = torch.zeros(2, 60)
    flat[1, :15] = 1.0
    goal = Goal("multiclass", torch.tensor([0, 1]))
    assert zero_gradients(Linear(flat), greys(2), goal).tolist() == [0.75, 0.75]
    assert zero_gradients(Masked(linear()), greys(2), goal).tolist() == [1, 1]


@pytest.mark.parametrize("norm", ["l1", "", "L2"])
def test_an_unknown_norm_is_named(norm):
    goal = Goal("multiclass", torch.tensor([0]))
    with pytest.raises(ValueError, match="known are l2, linf"):
        fgsm(linear(), greys(1), goal, norm, 0.1)
    with pytest.raises(ValueError, match="known are l2, linf"):
        pgd(linear(), greys(1), goal, norm, 0.1, steps=1)


@pytest.mark.parametrize(("steps", "restarts"), [(0, 1), (1, 0), (1, 2)])
def test_impossible_numbers_of_steps_and_restarts_are_refused(steps, restarts):
    with pytest.raises(ValueError, match="at least 1"):
        pgd(linear(), greys(1), Goal("multiclass", torch.tensor([0])), "l2", 0.1, steps=steps, restarts=restarts)


def test_a_network_without_gradients_is_refused():
    """A session of onnxruntime, say, whose answers torch knows nothing of."""

    class Session(nn.Module):
        def forward(self, pixels: Tensor) -> Tensor:
            return torch.from_numpy(pixels.detach().flatten(1).numpy()[:, :2].copy())

    with pytest.raises(UserError, match=r"gives no gradients.*leave it out of robustness\.methods"):
        fgsm(Session(), greys(1), Goal("multiclass", torch.tensor([0])), "l2", 0.1)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_logits_that_are_not_finite_are_refused(value):
    network = Linear(torch.zeros(2, 60), torch.tensor([0.0, value]))
    with pytest.raises(UserError, match=r"2 of 2 images with logits that are not finite.*training\.lr"):
        input_gradient(network, greys(2), Goal("multiclass", torch.tensor([0, 1])))
