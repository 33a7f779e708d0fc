"""A trained network as one ONNX file that takes stored pixels and answers with probabilities."""

import copy
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from models.classifier import Classifier
from models.inference import predict
from models.metadata import Metadata
from models.names import Task
from models.providers import CPU, Compute, open_session

INPUT = "pixels"
OUTPUTS = ("probabilities", "logits")
OPSET = 20


class Served(nn.Module):
    """uint8 (B, H, W, channels) -> probabilities and logits, float32 (B, C) each.

    With `half` backbone and head compute in float16, on copies of the weights; normalisation and probabilities stay
    float32.
    """

    def __init__(self, classifier: Classifier, task: Task, *, half: bool = False) -> None:
        super().__init__()
        self.task, self.half_type = task, torch.float16 if half else torch.float32
        self.classifier = copy.deepcopy(classifier) if half else classifier
        if half:
            self.classifier.backbone.half()
            self.classifier.head.half()

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Cast to [0, 1], classify, and apply softmax (multiclass) or sigmoid (multilabel)."""
        unit = pixels.permute(0, 3, 1, 2).float() / 255
        normalised = self.classifier.normalise(unit).to(self.half_type)
        logits = self.classifier.head(self.classifier.backbone(normalised)).float()
        return (logits.softmax(dim=1) if self.task == "multiclass" else logits.sigmoid()), logits


def export_onnx(classifier: Classifier, path: Path, metadata: Metadata) -> None:
    """Write the network, in evaluation mode, as one ONNX file with its metadata; the caller makes the write atomic.

    Input `pixels`: uint8 (batch, image_size, image_size, channels), any batch. Outputs `probabilities` and `logits`:
    float32 (batch, C). Cast, division by 255, normalisation and softmax or sigmoid are in the graph, resizing is not.
    The classifier's device, mode and weights are left as they were, also where `metadata.precision` is float16.
    """
    side, channels = metadata.image_size, metadata.channels
    # a batch of 1 would be taken for a constant
    example = torch.zeros(2, side, side, channels, dtype=torch.uint8, device=classifier.mean.device)
    training = classifier.training
    try:
        program = torch.onnx.export(
            Served(classifier, metadata.task, half=metadata.precision == "float16").eval(),
            (example,),
            dynamo=True,
            input_names=[INPUT],
            output_names=list(OUTPUTS),
            dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
            opset_version=OPSET,
            verbose=False,
        )
    finally:
        classifier.train(training)
    assert program is not None
    for node in program.model.graph:
        node.metadata_props.clear()  # stack traces, with the paths of the exporting machine
    program.model.metadata_props.update(metadata.properties())
    program.save(path, external_data=False)


def onnx_logits(path: Path, images: np.ndarray, compute: Compute, batch_size: int = 64) -> np.ndarray:
    """Return the logits of an ONNX file, float32 (N, C); `images`: uint8 (N, H, W, channels), N >= 1."""
    session = open_session(path, compute)
    starts = range(0, len(images), batch_size)
    blocks = (np.ascontiguousarray(images[start : start + batch_size]) for start in starts)
    return np.concatenate([np.asarray(session.run(["logits"], {INPUT: block})[0]) for block in blocks])


def max_logit_difference(classifier: Classifier, path: Path, images: np.ndarray, batch_size: int = 64) -> float:
    """Return the largest absolute difference between a logit of PyTorch and of the ONNX file on the CPU.

    `images`: uint8 (N, H, W, channels), N >= 1. Returns NaN where either answers with NaN.
    """
    expected = predict(classifier, images, np.arange(len(images)), classifier.mean.device, batch_size=batch_size)
    found = onnx_logits(path, images, Compute(providers=(CPU,)), batch_size)
    return float(np.abs(found - expected).max())
