"""Sharpness as numbers: the top eigenvalue and the trace of the loss's Hessian, from Hessian-vector products alone."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from pipeline.common.seeds import stream
from pipeline.evaluation.landscape import Losses, Weights

Product = Callable[[Tensor], Tensor]
"""v -> H v, both (P,)."""
TWICE = sdpa_kernel(SDPBackend.MATH)
"""Fused attention has no second derivative."""


@dataclass(frozen=True)
class Eigenvalue:
    """The largest eigenvalue and its vector (P,), of length 1.

    `residual`: |H v - value v|; some eigenvalue is as near as that. `converged`: it is at most the tolerance times the
    largest eigenvalue by magnitude; `iterations`: the Hessian-vector products that were taken.
    """

    value: float
    vector: Tensor
    residual: float
    iterations: int
    converged: bool


@TWICE
def hessian_product(losses: Losses, weights: Weights, vector: Tensor) -> Tensor:
    """Return H v, (P,), of the mean loss over all images; P counts the elements of `weights`, in their order.

    Raises FloatingPointError where it is not finite.
    """
    total, images = torch.zeros_like(vector), 0
    for product, of_block in _block_products(losses, weights, vector):
        total += product
        images += of_block
    if not total.isfinite().all():
        raise FloatingPointError("the loss has no finite second derivatives there")
    return total / images


@TWICE
def curvatures(losses: Losses, weights: Weights, vector: Tensor) -> np.ndarray:
    """Return v'Hv of the mean loss of each block alone: of each image, where blocks are single images.

    At an eigenvector of the whole they average to its eigenvalue, and the standard error of their mean is that of the
    eigenvalue over the choice of images, to first order.
    """
    products = _block_products(losses, weights, vector)
    return np.array([dot(vector, product) / images for product, images in products])


def _block_products(losses: Losses, weights: Weights, vector: Tensor) -> Iterator[tuple[Tensor, int]]:
    """Each block's H v, summed over its images, and how many these are; one block's graph is in memory at a time."""
    leaves = {name: weight.detach().clone().requires_grad_() for name, weight in weights.items()}
    inputs, sizes = list(leaves.values()), [weight.numel() for weight in weights.values()]
    pieces = [piece.view(leaf.shape) for piece, leaf in zip(vector.split(sizes), inputs, strict=True)]
    for block in losses(leaves):
        gradients = torch.autograd.grad(block.sum(), inputs, create_graph=True, materialize_grads=True)
        curved = [(one, piece) for one, piece in zip(gradients, pieces, strict=True) if one.requires_grad]
        products = torch.autograd.grad(
            [one for one, _ in curved], inputs, [piece for _, piece in curved], materialize_grads=True
        )
        yield torch.cat([product.reshape(-1) for product in products]), len(block)


def random_vector(weights: Weights, seed: int, name: str, counter: int, *, signs: bool = False) -> Tensor:
    """Return a vector (P,) of standard normal draws, or of random signs (Rademacher), on the weights' device."""
    size = sum(weight.numel() for weight in weights.values())
    generator = stream(seed, name, counter)
    drawn = 2.0 * generator.integers(0, 2, size) - 1 if signs else generator.standard_normal(size)
    return torch.from_numpy(drawn.astype(np.float32)).to(next(iter(weights.values())))


def top_eigenvalue(product: Product, start: Tensor, tolerance: float, iterations: int) -> Eigenvalue:
    """Return the largest eigenvalue of a symmetric H by power iteration from `start`, (P,).

    Power iteration finds the largest by magnitude. Where that one is negative, a second one with H shifted by it finds
    the largest. Each takes `iterations` products at most.
    """
    found = _power(product, start, tolerance, iterations)
    if found.value >= 0:
        return found
    lowest = found.value
    shifted = _power(lambda vector: product(vector) - lowest * vector, start, tolerance, iterations)
    return Eigenvalue(
        shifted.value + lowest,
        shifted.vector,
        shifted.residual,
        found.iterations + shifted.iterations,
        found.converged and shifted.converged,
    )


def _power(product: Product, start: Tensor, tolerance: float, iterations: int) -> Eigenvalue:
    vector, taken = start / start.norm(), 0
    while True:
        image, taken = product(vector), taken + 1
        value = dot(vector, image)
        residual = (image - value * vector).norm().item()
        converged = residual <= tolerance * abs(value)
        if converged or taken == iterations:
            return Eigenvalue(value, vector, residual, taken, converged)
        vector = image / image.norm()


def trace_draw(losses: Losses, weights: Weights, seed: int, draw: int) -> float:
    """Return z'Hz of random signs z, whose mean over draws is the trace (Hutchinson 1990)."""
    signs = random_vector(weights, seed, "landscape/trace", draw, signs=True)
    return dot(signs, hessian_product(losses, weights, signs))


def standard_error(values: np.ndarray) -> float:
    """Return the standard error of the mean of two values or more."""
    return float(np.std(values, ddof=1) / np.sqrt(len(values)))


def dot(first: Tensor, second: Tensor) -> float:
    """Return the inner product, summed in float64."""
    return torch.dot(first.double(), second.double()).item()
