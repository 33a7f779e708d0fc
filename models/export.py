"""A trained network as one ONNX file that takes stored pixels and answers with probabilities."""

from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from models.classifier import Classifier
from models.inference import predict
from models.names import Task

INPUT = "pixels"
OUTPUTS = ("probabilities", "logits")


class Served(nn.Module):
    """uint8 (B, H, W, channels) -> probabilities and logits, float32 (B, C) each."""

    def __init__(self, classifier: Classifier, task: Task) -> None:
        super().__init__()
        self.classifier, self.task = classifier, task

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Cast to [0, 1], classify, and apply softmax (multiclass) or sigmoid (multilabel)."""
        logits = self.classifier(pixels.permute(0, 3, 1, 2).float() / 255)
        return (logits.softmax(dim=1) if self.task == "multiclass" else logits.sigmoid()), logits


def export_onnx(classifier: Classifier, path: Path, *, task: Task, image_size: int, channels: int) -> None:
    """Write the network, in evaluation mode and float32, as one ONNX file; the caller makes the write atomic.

    Input `pixels`: uint8 (batch, image_size, image_size, channels), any batch. Outputs `probabilities` and `logits`:
    float32 (batch, C). Cast, division by 255, normalisation and softmax or sigmoid are in the graph, resizing is not.
    The classifier's device and mode are left as they were.
    """
    # a batch of 1 would be taken for a constant
    example = torch.zeros(2, image_size, image_size, channels, dtype=torch.uint8, device=classifier.mean.device)
    training = classifier.training
    try:
        program = torch.onnx.export(
            Served(classifier, task).eval(),
            (example,),
            dynamo=True,
            input_names=[INPUT],
            output_names=list(OUTPUTS),
            dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
            verbose=False,
        )
    finally:
        classifier.train(training)
    assert program is not None
    for node in program.model.graph:
        node.metadata_props.clear()  # stack traces, with the paths of the exporting machine
    program.save(path, external_data=False)


def max_logit_difference(classifier: Classifier, path: Path, images: np.ndarray, batch_size: int = 64) -> float:
    """Return the largest absolute difference between a logit of PyTorch and of the ONNX file on the CPU.

    `images`: uint8 (N, H, W, channels), N >= 1. Returns NaN where either answers with NaN.
    """
    expected = predict(classifier, images, np.arange(len(images)), classifier.mean.device, batch_size=batch_size)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    largest = 0.0
    for start in range(0, len(images), batch_size):
        part = slice(start, start + batch_size)
        (logits,) = session.run(["logits"], {INPUT: np.ascontiguousarray(images[part])})
        largest = float(np.maximum(largest, np.abs(np.asarray(logits) - expected[part]).max()))  # NaN stays NaN
    return largest
