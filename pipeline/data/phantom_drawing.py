"""Named random streams, and shapes drawn in unit coordinates: what lesions and films are made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.common.seeds import stream


def part_stream(seed: int, *part: object) -> np.random.Generator:
    """Return the random stream of one part of a drawing, named by group, image and the like."""
    return stream(seed, "/".join(["phantom", *map(str, part)]), 0)


def step(value: np.ndarray, width: float) -> np.ndarray:
    """Soft step from 0 to 1 at value 0; `width` in the units of `value`."""
    return 0.5 + 0.5 * np.tanh(value / width)


def outer(down: np.ndarray, across: np.ndarray) -> np.ndarray:
    """Sum over k of down[k, i] * across[k, j], (n, n). Not `@`: BLAS starts threads, and rounds by their number."""
    return np.einsum("ki,kj->ij", down, across)


@dataclass(frozen=True)
class Frame:
    """A pose: unit coordinates of the image, shifted, turned and scaled into an object's own coordinates.

    `axis` (n,): pixel centres in [-0.5, 0.5]; `centre` (2,): the object's origin (x, y); `scale`: the object's unit
    length as a share of the image side; `angle` in radians. Waves and Gaussians stay separable in x and y under such
    a pose, so fields cost one small matrix product each and no transcendental function per pixel.
    """

    axis: np.ndarray
    centre: np.ndarray
    scale: float
    angle: float

    @property
    def turn(self) -> np.ndarray:
        """(2, 2) matrix that takes a shift in the image to a shift in the object's coordinates."""
        c, s = np.cos(self.angle), np.sin(self.angle)
        return np.array([[c, s], [-s, c]]) / self.scale

    def coordinates(self) -> tuple[np.ndarray, np.ndarray]:
        """The object's x and y of every pixel, two (n, n)."""
        x, y = self.axis - self.centre[0], (self.axis - self.centre[1])[:, None]
        turn = self.turn
        return turn[0, 0] * x + turn[0, 1] * y, turn[1, 0] * x + turn[1, 1] * y

    def field(self, rng: np.random.Generator, low: float, high: float, count: int = 20) -> np.ndarray:
        """A smooth random field (n, n), mean 0, variance 1: waves of `low` to `high` cycles per unit length."""
        angle, phase = rng.uniform(0, 2 * np.pi, (2, count))
        k = 2 * np.pi * rng.uniform(low, high, count) * np.stack([np.cos(angle), np.sin(angle)])
        kx, ky = self.turn.T @ k
        across = np.outer(kx, self.axis - self.centre[0])
        down = np.outer(ky, self.axis - self.centre[1]) + phase[:, None]
        # cos(a + b) = cos a cos b - sin a sin b
        return np.sqrt(2 / count) * (outer(np.cos(down), np.cos(across)) - outer(np.sin(down), np.sin(across)))

    def spots(self, points: np.ndarray, radius: float | np.ndarray, edge: float = 0.15) -> np.ndarray:
        """Soft discs in [0, 1], (n, n), at `points` (P, 2) with `radius` (scalar or (P,)), object's coordinates."""
        x, y = np.linalg.inv(self.turn) @ np.asarray(points, dtype=float).T + self.centre[:, None]
        half = (np.sqrt(np.log(2)) / (np.asarray(radius) * self.scale)) * np.ones(len(x))
        across = np.exp(-((half[:, None] * (self.axis - x[:, None])) ** 2))
        down = np.exp(-((half[:, None] * (self.axis - y[:, None])) ** 2))
        return step(outer(down, across) - 0.5, edge)
