"""Stage `export`: the first seed's RoS-KD student as one ONNX file, checked against PyTorch on the test set."""

import numpy as np

from models.classifier import load_weights
from models.export import export_onnx, max_logit_difference
from models.networks import build
from pipeline.common import layout as artifacts
from pipeline.common.errors import UserError
from pipeline.common.files import atomic, write_json
from pipeline.data.prepared import load_prepared
from pipeline.distillation.methods import ROSKD, ROSKD_RUN
from pipeline.evaluation.metrics import tune_thresholds
from pipeline.params.tree import Params

TOLERANCE = 1e-4
"""Largest difference of a logit between ONNX and PyTorch, float32."""


def run(params: Params) -> None:
    """Write onnx/student.onnx and what serving must know of it; refuse a file that answers differently."""
    prepared, seed = load_prepared(params.task), params.seeds[0]
    student = build(params.student.architecture, num_classes=len(prepared.classes), stem=params.student.stem)
    load_weights(student, artifacts.student_weights(seed, ROSKD_RUN, "smoothed"))
    student.eval()
    channels = prepared.images.shape[-1]
    with atomic(artifacts.ONNX) as temporary:
        export_onnx(student, temporary, task=params.task, image_size=params.data.image_size, channels=channels)
        difference = max_logit_difference(student, temporary, prepared.images[prepared.rows("test")])
        if not difference <= TOLERANCE:
            raise UserError(f"export: ONNX and PyTorch differ by {difference:.2g} in a logit, more than {TOLERANCE:g}")
    meta: dict[str, object] = {
        "data_source": params.data.source,
        "task": params.task,
        "classes": list(prepared.classes),
        "image_size": params.data.image_size,
        "resize": params.data.resize,
        "channels": channels,
        "seed": seed,
    }
    if params.task == "multilabel":
        with np.load(artifacts.predictions(seed, ROSKD, "smoothed")) as stored:
            meta["thresholds"] = [float(t) for t in tune_thresholds(stored["val_logits"], stored["val_targets"])]
    write_json(artifacts.ONNX_META, meta)
    print(f"export: {artifacts.ONNX}; largest difference to PyTorch on the test set {difference:.1e}")
