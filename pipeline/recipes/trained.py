"""A trained student as artifacts/ has it, whole: what is exported, attacked, and asked about other images."""

from pathlib import Path

import numpy as np

from models.classifier import Classifier, load_weights
from models.heads import HeadAlone
from models.networks import build
from pipeline.common.layout import Layout
from pipeline.data.prepared import Prepared
from pipeline.distillation.methods import METHODS
from pipeline.evaluation.predictions import read_logits, thresholds_of
from pipeline.params.tree import Params


def weights_of(layout: Layout, seed: int, name: str) -> Path:
    """Return the file of the weights that a method is measured with."""
    method = METHODS[name]
    return layout.student_weights(seed, method.pool, method.run, method.checkpoint)


def trained_student(params: Params, layout: Layout, seed: int, name: str, num_classes: int) -> Classifier:
    """Return a method's network from pixels to logits, in evaluation mode on the CPU.

    A head that was trained on stored features is put onto the frozen backbone that made them. Raises ModelError where
    its weights are missing or belong to another network.
    """
    network = params.student_network
    frozen = network.weights if network.train == "head" else None
    student = build(network.architecture, num_classes=num_classes, weights=frozen, **network.layers)
    load_weights(student if frozen is None else HeadAlone(student.head), weights_of(layout, seed, name))
    return student.eval()


def own_thresholds(layout: Layout, prepared: Prepared, seed: int, name: str) -> np.ndarray | None:
    """Return a method's threshold of each finding, (C,), tuned on validation; None for one class per image."""
    method = METHODS[name]
    if prepared.task == "multiclass":
        return None
    return thresholds_of(
        prepared, read_logits(layout.student_predictions(seed, method.pool, method.run))[method.checkpoint]
    )
