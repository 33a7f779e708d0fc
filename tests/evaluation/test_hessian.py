"""Top eigenvalue and trace against Hessians that are known."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.evaluation.hessian import (
    curvatures,
    hessian_product,
    random_vector,
    standard_error,
    top_eigenvalue,
    trace_draw,
)
from pipeline.evaluation.landscape import Losses, Weights, image_losses

P = 12


def symmetric(eigenvalues: np.ndarray, seed: int = 0) -> np.ndarray:
    """A matrix with these eigenvalues and random eigenvectors."""
    basis, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(len(eigenvalues), len(eigenvalues))))
    return basis @ np.diag(eigenvalues) @ basis.T


def quadratic(*matrices: np.ndarray) -> Losses:
    """w'Aw / 2 for each matrix: an image, and a block, of its own. Weights are a (3, 2) and b (6,)."""
    parts = [torch.from_numpy(matrix).float() for matrix in matrices]

    def losses(weights: Weights) -> Iterator[Tensor]:
        flat = torch.cat([weights["a"].reshape(-1), weights["b"]])
        for part in parts:
            yield (flat @ part @ flat).view(1) / 2

    return losses


WEIGHTS = {"a": torch.linspace(-1, 1, 6).view(3, 2), "b": torch.linspace(0, 2, 6)}


def start(seed: int = 0) -> Tensor:
    return random_vector(WEIGHTS, seed, "start", 0)


def top(losses: Losses, tolerance: float = 0.01, iterations: int = 500):
    return top_eigenvalue(lambda v: hessian_product(losses, WEIGHTS, v), start(), tolerance, iterations)


def test_the_product_is_that_of_the_mean_of_all_images():
    one, other = symmetric(np.arange(P), 1), symmetric(np.arange(P) - 4.0, 2)
    vector = start()
    found = hessian_product(quadratic(one, other), WEIGHTS, vector)
    assert found.numpy() == pytest.approx((one + other) / 2 @ vector.numpy(), rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("lowest", [-2.0, -30.0])
def test_the_top_eigenvalue_is_the_largest_to_one_percent(lowest):
    """Also where a negative one is larger by magnitude."""
    eigenvalues = np.array([lowest, *np.linspace(-1, 8, P - 2), 10.0])
    found = top(quadratic(symmetric(eigenvalues)))
    assert found.value == pytest.approx(10.0, rel=0.01)
    assert found.converged
    assert found.vector.norm().item() == pytest.approx(1.0, rel=1e-5)
    image = hessian_product(quadratic(symmetric(eigenvalues)), WEIGHTS, found.vector)
    assert found.residual == pytest.approx((image - found.value * found.vector).norm().item(), rel=1e-3, abs=1e-4)
    assert np.abs(eigenvalues - found.value).min() <= found.residual + 1e-4


def test_power_iteration_says_when_it_has_not_converged():
    losses = quadratic(symmetric(np.array([*np.zeros(P - 2), 9.9, 10.0])))
    found = top(losses, tolerance=1e-4, iterations=3)
    assert (found.iterations, found.converged) == (3, False)
    assert found.residual > 1e-4 * found.value
    found = top(losses, tolerance=1e-4, iterations=2000)
    assert found.converged
    assert 3 < found.iterations < 2000


def test_a_loss_without_curvature_has_eigenvalue_and_trace_zero():
    def plane(weights: Weights) -> Iterator[Tensor]:
        yield weights["a"].sum().view(1)

    found = top(plane)
    assert (found.value, found.converged, found.iterations) == (0.0, True, 1)
    assert trace_draw(plane, WEIGHTS, 0, 0) == 0.0


def test_a_product_that_is_not_finite_is_an_error():
    with pytest.raises(FloatingPointError, match="no finite second derivatives"):
        top(quadratic(np.full((P, P), np.nan)))


def test_the_trace_is_within_its_error():
    matrix = symmetric(np.linspace(-3, 20, P))
    draws = np.array([trace_draw(quadratic(matrix), WEIGHTS, 0, draw) for draw in range(400)])
    error = standard_error(draws)
    # of a draw of random signs: twice the squares off the diagonal (Hutchinson 1990)
    off_diagonal = (matrix**2).sum() - (np.diag(matrix) ** 2).sum()
    assert error == pytest.approx(np.sqrt(2 * off_diagonal / 400), rel=0.1)
    assert draws.mean() == pytest.approx(np.trace(matrix), abs=3 * error)
    diagonal = np.diag(np.arange(P, dtype=float))
    assert trace_draw(quadratic(diagonal), WEIGHTS, 0, 7) == pytest.approx(np.arange(P).sum(), rel=1e-5)


def test_draws_are_signs_and_depend_on_seed_and_number_alone():
    signs = random_vector(WEIGHTS, 0, "t", 0, signs=True)
    assert set(signs.tolist()) == {-1.0, 1.0}
    assert (random_vector(WEIGHTS, 0, "t", 0, signs=True) == signs).all()
    for seed, counter in ((1, 0), (0, 1)):
        assert (random_vector(WEIGHTS, seed, "t", counter, signs=True) != signs).any()


def test_curvatures_of_single_images_average_to_the_eigenvalue():
    matrices = [symmetric(np.linspace(0, 5 + k, P), 3) + 0.1 * symmetric(np.linspace(-1, 1, P), k) for k in range(6)]
    found = top(quadratic(*matrices), tolerance=1e-3)
    by_image = curvatures(quadratic(*matrices), WEIGHTS, found.vector)
    vector = found.vector.double().numpy()
    assert by_image == pytest.approx(np.array([vector @ matrix @ vector for matrix in matrices]), rel=1e-4)
    assert by_image.mean() == pytest.approx(found.value, rel=1e-4)
    assert standard_error(by_image) == pytest.approx(by_image.std() / np.sqrt(5))


def test_attention_has_second_derivatives():
    """The fused kernels that torch would pick have none."""
    drawn = torch.Generator().manual_seed(0)
    weights = {"a": torch.randn(4, 4, generator=drawn)}
    tokens = torch.randn(1, 2, 5, 4, generator=drawn)

    def losses(weights: Weights) -> Iterator[Tensor]:
        queries = tokens @ weights["a"]
        yield F.scaled_dot_product_attention(queries, tokens, tokens).square().sum().view(1)

    vector = torch.randn(16, generator=drawn)
    gradients = []
    for step in (1e-2, -1e-2):
        leaf = {"a": (weights["a"] + step * vector.view(4, 4)).requires_grad_()}
        (gradient,) = torch.autograd.grad(next(losses(leaf)).sum(), leaf["a"])
        gradients.append(gradient.flatten())
    expected = (gradients[0] - gradients[1]) / 2e-2
    torch.testing.assert_close(hessian_product(losses, weights, vector), expected, rtol=0.01, atol=0.01)


def test_the_hessian_of_a_logistic_regression_is_x_p_x():
    """mean of x x' p (1 - p), also where the images come in blocks and a bias is trained."""
    drawn = np.random.default_rng(0)
    x, y = drawn.normal(size=(20, 3)).astype(np.float32), drawn.integers(0, 2, 20).astype(np.float32)
    model = nn.Linear(3, 1)
    blocks = [(torch.from_numpy(x[i : i + 7]), torch.from_numpy(y[i : i + 7])) for i in range(0, 20, 7)]
    losses = image_losses(model, lambda z, t: F.binary_cross_entropy_with_logits(z[:, 0], t, reduction="none"), blocks)
    weights = {name: weight.detach() for name, weight in model.named_parameters()}
    with torch.no_grad():
        p = torch.sigmoid(model(torch.from_numpy(x)))[:, 0].numpy()
    ones = np.column_stack([x, np.ones(20)])
    hessian = (ones * (p * (1 - p))[:, None]).T @ ones / 20
    units = torch.eye(4)
    found = np.stack([hessian_product(losses, weights, unit).numpy() for unit in units])
    assert found == pytest.approx(hessian, rel=1e-4, abs=1e-6)
    top = top_eigenvalue(lambda v: hessian_product(losses, weights, v), torch.ones(4), 1e-3, 500)
    assert top.value == pytest.approx(np.linalg.eigvalsh(hessian)[-1], rel=1e-3)
