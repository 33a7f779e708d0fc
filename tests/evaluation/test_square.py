"""The Square attack: what it finds without gradients, within which budget, and with how many queries."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.common.seeds import stream
from pipeline.evaluation.goals import Goal
from pipeline.evaluation.square import side_at, square
from tests.evaluation.linear import Linear, Masked, greys, linear
from tests.evaluation.test_attacks import Counting, lead, sizes, ways_of


def draws(count: int, seed: int = 0) -> list[np.random.Generator]:
    return [stream(seed, "square", row) for row in range(count)]


@pytest.mark.parametrize(("norm", "eps"), [("l2", 1.0), ("linf", 0.1)])
def test_the_search_comes_near_the_worst_case_of_a_linear_network_and_not_beyond(norm, eps):
    """The decision is out of reach, so that all queries are used; more queries never lose anything."""
    flat = np.zeros((2, 3, 4, 5))
    flat[1, 0], flat[1, 1, :2] = 1.0, -1.0
    network = Linear(torch.from_numpy(flat.reshape(2, -1).astype(np.float32)), torch.tensor([100.0, 0.0]))
    images, targets = greys(4), torch.zeros(4, dtype=torch.int64)
    way = ways_of(network, targets)
    most = eps * (way.norm(dim=1) if norm == "l2" else way.abs().sum(dim=1))
    goal, gains = Goal("multiclass", targets), []
    for queries in (1, 30, 400):
        made = square(network, images, goal, norm, eps, queries=queries, draws=draws(4))
        assert (sizes(made, images, norm) <= eps).all()
        gains.append((lead(network, made, targets) - lead(network, images, targets)) / most)
    assert (gains[2] <= 1 + 1e-5).all()
    assert gains[2].mean() > {"l2": 0.4, "linf": 0.95}[norm], "its bumps in L2 are no edges"
    assert gains[0].mean() < gains[1].mean() < gains[2].mean()


@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 3, 7), (3, 32, 32)])
def test_budgets_are_kept_exactly_in_images_of_any_shape(norm, shape):
    images = torch.from_numpy(np.random.default_rng(0).uniform(size=(3, *shape)).astype(np.float32))
    images[0] = 1
    flat = torch.from_numpy(np.random.default_rng(1).normal(size=(3, math.prod(shape))).astype(np.float32))
    goal = Goal("multiclass", torch.tensor([0, 1, 2]))
    for eps in (0.004, 0.5):
        made = square(Linear(flat), images, goal, norm, eps, queries=25, draws=draws(3))
        assert (sizes(made, images, norm) <= eps).all()
        assert made.min() >= 0
        assert made.max() <= 1


def test_it_stops_asking_once_an_image_is_fooled():
    """One is fooled from the start, one at the first query, one never."""
    offset = torch.tensor([0.0, 0.0])
    flat = torch.zeros(2, 60)
    flat[1, :20] = 50.0
    images = torch.full((3, 3, 4, 5), 0.5)
    images[0], images[1] = 0.6, 0.499
    network = Counting(Linear(flat, offset - torch.tensor([0.0, 500.0])))
    goal = Goal("multiclass", torch.tensor([0, 0, 0]))
    made = square(network, images, goal, "linf", 0.01, queries=50, draws=draws(3))
    assert torch.equal(made[0], images[0])
    assert network.network(made).argmax(dim=1).tolist()[0] == 1
    assert network.answered < 3 + 2 * 50
    out_of_reach = Counting(Linear(torch.zeros(2, 60), torch.tensor([1.0, 0.0])))
    square(out_of_reach, images, goal, "linf", 0.01, queries=50, draws=draws(3))
    assert out_of_reach.answered == 3 + 3 * 50


def test_a_network_that_hides_its_gradients_is_fooled_all_the_same():
    network, images = Masked(linear()), greys(8)
    targets = network(images).argmax(dim=1)
    made = square(network, images, Goal("multiclass", targets), "linf", 0.3, queries=200, draws=draws(8))
    assert (network(made).argmax(dim=1) != targets).float().mean() > 0.5


def test_draws_belong_to_the_image_whatever_batch_it_is_in():
    network, images, targets = linear(3), greys(5), torch.arange(5) % 3

    def made(rows: list[int], seed: int = 0) -> Tensor:
        drawn = draws(5, seed)
        goal = Goal("multiclass", targets[rows])
        return square(network, images[rows], goal, "l2", 0.2, queries=20, draws=[drawn[row] for row in rows])

    whole = made([0, 1, 2, 3, 4])
    assert torch.equal(whole, made([0, 1, 2, 3, 4]))
    np.testing.assert_allclose(made([3, 1]), whole[[3, 1]], atol=1e-6)
    assert not torch.equal(whole, made([0, 1, 2, 3, 4], seed=1))


def test_squares_shrink_as_in_the_paper():
    """Of 10,000 queries: halved after 10, 50, 200, 500, 1,000, 2,000, 4,000, 6,000 and 8,000."""
    sides = [side_at(query, 10_000, 100, 100) for query in (10, 11, 51, 201, 501, 1001, 2001, 4001, 6001, 8001)]
    assert sides == [round(100 * math.sqrt(0.8 / 2**halvings)) for halvings in range(10)]
    assert side_at(9_999, 10_000, 2, 2) == 1


def test_no_query_is_no_attack():
    with pytest.raises(ValueError, match="queries is 0; at least 1"):
        square(linear(), greys(1), Goal("multiclass", torch.tensor([0])), "l2", 0.1, queries=0, draws=draws(1))
