"""The teachers' overlapping subsets, D = D^1 ∪ … ∪ D^K with overlap ratio p (method, section 2)."""

import numpy as np
import pandas as pd

from pipeline.common.labels import indicator
from pipeline.common.seeds import stream
from pipeline.data.prepared import Prepared
from pipeline.data.stratify import deal, integer_sizes
from pipeline.params.tree import Params, SubsetParams


def membership(
    targets: np.ndarray, groups: np.ndarray, num_classes: int, K: int, params: SubsetParams, partition: int = 1
) -> np.ndarray:
    """Return which of the K teachers of one partition trains on which sample: bool (N, K).

    `targets`: the training samples' labels, (N,) or (N, C); `groups`: int (N,) in 0..G-1. p = 0 gives disjoint
    subsets, p = 1 gives K copies, the union is always everything. Sizes: pN + (1-p)N/K for `core` and `cyclic`,
    N / (K(1-p) + p) for `within`; exact up to rounding where each group has one sample, otherwise within the largest
    group's size. Class proportions are kept, and a group is in one unique share. Partitions, from 1, are independent
    draws.
    """
    labels = indicator(targets, num_classes)
    rng = stream(params.seed, "subsets", partition - 1)
    patterns, sizes = _bins(params.scheme, params.overlap, len(groups), K)
    members = patterns[deal(labels, groups, sizes, rng)]
    return _equal_size(members, labels, groups, rng) if params.equal_size else members


def members_of(prepared: Prepared, params: Params) -> dict[str, np.ndarray]:
    """Return {teacher: bool (N_train,)}: which training samples, in row order, each teacher sees."""
    rows, K = prepared.rows("train"), len(params.teacher_names("full"))
    groups = pd.factorize(prepared.groups[rows])[0]
    targets, classes = prepared.given[rows], len(prepared.classes)
    tables = [
        membership(targets, groups, classes, K, params.subsets, partition)
        for partition in range(1, params.subsets.partitions + 1)
    ]
    return dict(zip(params.teacher_names("subset"), np.concatenate(tables, axis=1).T, strict=True))


def _bins(scheme: str, p: float, N: int, K: int) -> tuple[np.ndarray, np.ndarray]:
    """The membership patterns of a scheme, bool (B, K), and the samples that each is for, int (B,)."""
    if scheme == "cyclic":
        return _cyclic_bins(p, N, K)
    core = p if scheme == "core" else p / (K * (1 - p) + p)
    patterns = np.vstack([np.ones((1, K), dtype=bool), np.eye(K, dtype=bool)])
    shared = round(core * N)
    return patterns, np.append(shared, integer_sizes(np.full(K, 1 / K), N - shared))


def _cyclic_bins(p: float, N: int, K: int) -> tuple[np.ndarray, np.ndarray]:
    """Arcs of m consecutive teachers, mean m = 1 + p(K-1), floor and ceiling mixed; every start equally often.

    The arcs that do not fill a whole round are laid end to end round the ring, so that loads differ by at most one.
    """
    mean = 1 + p * (K - 1)
    short = min(int(np.floor(mean + 1e-9)), K)
    many = round((mean - short) * N)
    patterns, sizes, start = [], [], 0
    for length, samples in ((short, N - many), (min(short + 1, K), many)):
        count = np.full(K, samples // K)
        for _ in range(samples % K):
            count[start] += 1
            start = (start + length) % K
        for first in range(K):
            patterns.append(np.isin(np.arange(K), (first + np.arange(length)) % K))
            sizes.append(count[first])
    return np.array(patterns), np.array(sizes)


def _equal_size(members: np.ndarray, labels: np.ndarray, groups: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Cut each teacher's subset to a random N/K of it: the control that separates overlap from subset size."""
    N, K = members.shape
    reduced = np.zeros_like(members)
    for k, size in enumerate(integer_sizes(np.full(K, 1 / K), N)):
        rows = np.flatnonzero(members[:, k])
        kept = min(int(size), len(rows))
        own_groups = np.unique(groups[rows], return_inverse=True)[1]
        bins = deal(labels[rows], own_groups, np.array([kept, len(rows) - kept]), rng)
        reduced[rows[bins == 0], k] = True
    return reduced
