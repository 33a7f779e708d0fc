"""Something to hold answers against: labels of validation and test, as in prepared data."""

from dataclasses import dataclass

import numpy as np

from models.names import Task
from pipeline.evaluation.predictions import Logits


@dataclass(frozen=True)
class Truth:
    """`by_split`: the labels that each split is judged by."""

    task: Task
    classes: tuple[str, ...]
    by_split: dict[str, np.ndarray]

    def targets(self, split: str) -> np.ndarray:
        return self.by_split[split]


def truth_of(task: Task, n: int = 80, seed: int = 0) -> Truth:
    """Random labels of three classes, n in validation and as many in test."""
    rng = np.random.default_rng(seed)
    labels = {
        split: rng.integers(3, size=n) if task == "multiclass" else (rng.random((n, 3)) < 0.3).astype(np.float32)
        for split in ("val", "test")
    }
    return Truth(task, ("MEL", "NV", "BCC"), labels)


def answers_to(truth: Truth, seed: int, strength: float = 1.0) -> Logits:
    """Logits that know the labels the better the greater `strength` is."""
    rng = np.random.default_rng(seed)
    found = {}
    for split, labels in truth.by_split.items():
        indicator = np.eye(3)[labels] if truth.task == "multiclass" else labels
        found[split] = (rng.normal(size=indicator.shape) + strength * indicator).astype(np.float32)
    return found
