"""Logits of four unequal classes or findings that partly know the labels."""

import numpy as np


def multiclass(n: int = 500, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    targets = rng.choice(4, size=n, p=(0.1, 0.6, 0.2, 0.1))
    logits = rng.normal(size=(n, 4)) + 1.5 * np.eye(4)[targets]
    return logits.astype(np.float32), targets


def multilabel(n: int = 500, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    targets = (rng.random((n, 4)) < (0.05, 0.1, 0.2, 0.4)).astype(np.float32)
    return (rng.normal(size=(n, 4)) + 1.5 * targets - 2).astype(np.float32), targets
