"""Teacher weights: equal, stochastic, and restricted to teachers that never saw a sample (method, section 4)."""

import numpy as np
import torch
from torch import Tensor

from models.inference import to_device
from pipeline.common.seeds import stream
from pipeline.params.learning import WeightingParams


def uniform_weights(K: int, device: torch.device) -> Tensor:
    """Return w_k = 1/K, float32 (K, 1)."""
    return torch.full((K, 1), 1 / K, device=device)


def stochastic_weights(rng: np.random.Generator, count: int, K: int, params: WeightingParams) -> np.ndarray:
    """Return `count` draws of the teacher weights, float64 (count, K).

    e_k ~ Gamma(c, 1), c = `concentration` (1: exponential); normalised, w = e / Σe ~ Dirichlet(c, …, c); raw,
    w = e / (cK). E[w_k] = weight_scale / K in both. Gamma(c) is drawn as Gamma(c + 1) U^(1/c) in logarithms, so that a
    small c cannot underflow to 0/0.
    """
    c = params.concentration
    uniforms = 1 - rng.random((count, K))  # in (0, 1], so that the logarithm is finite
    log_e = np.log(rng.gamma(c + 1, size=(count, K))) + np.log(uniforms) / c
    if not params.normalise:
        return params.weight_scale * np.exp(log_e) / (c * K)
    e = np.exp(log_e - log_e.max(axis=1, keepdims=True))
    return params.weight_scale * e / e.sum(axis=1, keepdims=True)


class StochasticWeights:
    """The stochastic weights of a whole training: a table per epoch, one row per step or per sample.

    An epoch's table is drawn on the host and sent to the device at once.
    """

    def __init__(self, K: int, num_samples: int, seed: int, params: WeightingParams) -> None:
        self._K, self._num_samples, self._seed, self._params = K, num_samples, seed, params
        self._table: tuple[int, Tensor] | None = None

    def of(self, epoch: int, step: int, index: Tensor) -> Tensor:
        """Return the weights of one step, float32 (K, 1), or of its samples, (K, B).

        `index`: int64 (B,), training samples, on the device that the weights come to.
        """
        if self._table is None or self._table[0] != epoch:
            # num_samples bounds the number of steps too
            rng = stream(self._seed, "teacher weights", epoch)
            drawn = stochastic_weights(rng, self._num_samples, self._K, self._params).astype(np.float32)
            self._table = (epoch, to_device(drawn, index.device))
        table = self._table[1]
        return table[index].T if self._params.per == "sample" else table[step][:, None]


def restrict_to_unseen(weights: Tensor, unseen: Tensor) -> Tensor:
    """Silence the teachers that trained on a sample and give their weight to the others, (K, B).

    `weights`: (K, 1) or (K, B), kept in sum; `unseen`: bool (K, B), True where teacher k never saw sample b. A sample
    that every teacher saw keeps all weights.
    """
    weights = weights.expand(unseen.shape)
    kept = torch.where(unseen, weights, torch.zeros_like(weights))
    total = kept.sum(dim=0)
    return torch.where(total > 0, kept * (weights.sum(dim=0) / total.clamp(min=1e-30)), weights)
