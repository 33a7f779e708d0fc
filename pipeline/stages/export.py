"""Stage `export`: the served method's student of the first seed as one ONNX file, checked against PyTorch."""

from models.export import export_onnx, max_logit_difference
from pipeline.common.errors import UserError
from pipeline.common.files import atomic, write_json
from pipeline.common.layout import Layout
from pipeline.data.prepared import load_prepared
from pipeline.distillation.methods import METHODS, served
from pipeline.evaluation.metrics import tune_thresholds
from pipeline.evaluation.predictions import read_logits
from pipeline.params.tree import Params
from pipeline.recipes.trained import trained_student

TOLERANCE = 1e-4
"""Largest difference of a logit between ONNX and PyTorch, float32."""


def run(params: Params, layout: Layout) -> None:
    """Write onnx/student.onnx and what serving must know of it; refuse a file that answers differently."""
    prepared, seed, name = load_prepared(layout, params.task), params.seeds[0], served(params.methods)
    method = METHODS[name]
    student = trained_student(params, layout, seed, name, len(prepared.classes))
    channels = prepared.images.shape[-1]
    with atomic(layout.onnx) as temporary:
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
        "method": name,
        "seed": seed,
    }
    if params.task == "multilabel":
        logits = read_logits(layout.student_predictions(seed, method.pool, method.run))[method.checkpoint]["val"]
        meta["thresholds"] = [float(t) for t in tune_thresholds(logits, prepared.targets("val"))]
    write_json(layout.onnx_meta, meta)
    print(f"export: {name} in {layout.onnx}; largest difference to PyTorch on the test set {difference:.1e}")
