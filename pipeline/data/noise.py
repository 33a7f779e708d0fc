"""Label noise for train and validation labels (method, section 7). Row i takes draw i of the seeded table."""

import numpy as np

from pipeline.params import NoiseParams
from pipeline.seeds import stream


def transition_matrix(kind: str, rate: float, num_classes: int) -> np.ndarray:
    """Return T (C, C), T[i, j] = probability that published class i is given as class j; rows sum to 1.

    `symmetric` spreads `rate` evenly over the *other* classes, so that the nominal rate is the realised one; `pair`
    moves it to the next class.
    """
    stay = np.eye(num_classes)
    if kind == "none":
        return stay
    if kind == "symmetric":
        return (1 - rate) * stay + rate * (1 - stay) / (num_classes - 1)
    if kind == "pair":
        return (1 - rate) * stay + rate * np.roll(stay, 1, axis=1)
    raise ValueError(f"no transition matrix for noise kind {kind!r}")


def through_matrix(targets: np.ndarray, transition: np.ndarray, uniforms: np.ndarray) -> np.ndarray:
    """Return noisy class indices (N,): sample i turns into the class where its row's distribution passes uniforms[i].

    `uniforms`: (N,) in [0, 1).
    """
    cumulative = np.cumsum(transition, axis=1)
    cumulative[:, -1] = 1.0
    return (uniforms[:, None] >= cumulative[targets]).sum(axis=1).astype(targets.dtype)


def flip(targets: np.ndarray, miss_rate: float, false_rate: float, uniforms: np.ndarray) -> np.ndarray:
    """Return noisy findings (N, C): a present one is missed with `miss_rate`, an absent one found with `false_rate`.

    `uniforms`: (N, C) in [0, 1).
    """
    rate = np.where(targets > 0, miss_rate, false_rate)
    return np.where(uniforms < rate, 1 - targets, targets).astype(targets.dtype)


def corrupt(targets: np.ndarray, affected: np.ndarray, num_classes: int, params: NoiseParams) -> np.ndarray:
    """Return the given labels: `targets` with noise where `affected` (bool, N) is True.

    Draws are made for all rows in the order of the table, so that the noise of a row does not depend on the splits.
    """
    rng = stream(params.seed, "label noise", 0)
    if targets.ndim == 1:
        transition = transition_matrix(params.kind, params.rate, num_classes)
        noisy = through_matrix(targets, transition, rng.random(len(targets)))
    elif params.kind == "none":
        noisy = targets
    else:
        noisy = flip(targets, params.miss_rate, params.false_rate, rng.random(targets.shape))
    keep = affected if targets.ndim == 1 else affected[:, None]
    return np.where(keep, noisy, targets).astype(targets.dtype)


def changed(given: np.ndarray, published: np.ndarray) -> np.ndarray:
    """Return bool (N,): True where the given label differs from the published one in any class."""
    return given != published if given.ndim == 1 else (given != published).any(axis=1)
