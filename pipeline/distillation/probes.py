"""Rivals that put no network on stored features: a linear probe, and nearest neighbours with weighted labels.

Both take features, float32 (N, F), and return logits, float32 (N, C): log-probabilities for multiclass, the logit of
each finding's probability for multilabel. What they leave open is picked by the validation split.
"""

import warnings
from collections.abc import Callable

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler, normalize

from models.names import Task
from pipeline.evaluation.nearest import nearest

Answer = Callable[[np.ndarray], np.ndarray]
"""Features to logits."""
INVERSE_PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""C of scikit-learn's logistic regression, on standardised features."""
NEIGHBOURS = (5, 10, 20, 50, 100)
LEAST = 1e-6
"""Probabilities are kept away from 0 and 1 by so much."""


def linear_probes(features: np.ndarray, labels: np.ndarray, task: Task, num_classes: int) -> dict[str, Answer]:
    """Return a logistic regression for each of INVERSE_PENALTIES, by its name.

    `labels`: int64 (N,) or float32 (N, C). A class, or finding, without samples has the probability 0.
    """
    scaler = StandardScaler().fit(features)
    scaled = np.asarray(scaler.transform(features))

    def probe(inverse_penalty: float) -> Answer:
        if task == "multiclass":
            model = _fitted(scaled, labels, inverse_penalty)

            def answer(unseen: np.ndarray) -> np.ndarray:
                found = np.zeros((len(unseen), num_classes))
                found[:, model.classes_] = model.predict_proba(scaler.transform(unseen))
                return _logits(found, task)

            return answer
        models = [_of_finding(scaled, labels[:, one], inverse_penalty) for one in range(num_classes)]

        def answer_findings(unseen: np.ndarray) -> np.ndarray:
            ready = np.asarray(scaler.transform(unseen))
            return _logits(np.stack([model(ready) for model in models], axis=1), task)

        return answer_findings

    return {f"C {value:g}": probe(value) for value in INVERSE_PENALTIES}


def neighbours(features: np.ndarray, labels: np.ndarray, task: Task, num_classes: int) -> dict[str, Answer]:
    """Return a vote of the k nearest training samples for each k of NEIGHBOURS, by its name.

    Near is a large cosine similarity s. A neighbour's vote counts s times the weight of its label: the share of its own
    k nearest samples, itself left out, that have the same label (multilabel: for each finding).
    """
    known = np.asarray(normalize(features))
    given = np.eye(num_classes)[labels] if task == "multiclass" else labels.astype(float)

    def vote(k: int) -> Answer:
        k = min(k, len(known) - 1)
        _, around = nearest(known, known, k, leave_out_self=True)
        agreeing = given[around].mean(axis=1)  # (N, C): share of the neighbours with each label
        weights = (given * agreeing).sum(axis=1, keepdims=True) if task == "multiclass" else np.where(
            given > 0, agreeing, 1 - agreeing
        )  # fmt: skip

        def answer(unseen: np.ndarray) -> np.ndarray:
            similarity, found = nearest(np.asarray(normalize(unseen)), known, k)
            counted = np.maximum(similarity, LEAST)[:, :, None] * np.maximum(weights[found], LEAST)
            return _logits((counted * given[found]).sum(axis=1) / counted.sum(axis=1), task)

        return answer

    return {f"k {k}": vote(k) for k in NEIGHBOURS}


def _fitted(features: np.ndarray, labels: np.ndarray, inverse_penalty: float) -> LogisticRegression:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a large C is the poorer choice, and takes long
        return LogisticRegression(C=inverse_penalty, max_iter=200).fit(features, labels)


def _of_finding(features: np.ndarray, labels: np.ndarray, inverse_penalty: float) -> Answer:
    if len(np.unique(labels)) < 2:
        share = float(labels[0]) if len(labels) else 0.0
        return lambda unseen: np.full(len(unseen), share)
    model = _fitted(features, labels, inverse_penalty)
    return lambda unseen: model.predict_proba(unseen)[:, 1]


def _logits(probabilities: np.ndarray, task: Task) -> np.ndarray:
    kept = np.clip(probabilities, LEAST, 1 - LEAST)
    return (np.log(kept) if task == "multiclass" else np.log(kept / (1 - kept))).astype(np.float32)
