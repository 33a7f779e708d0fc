"""Stage `export`: the served method's student of the first seed as ONNX files, checked against PyTorch."""

from dataclasses import asdict, replace
from pathlib import Path
from shutil import copyfile
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from models.classifier import Classifier
from models.export import export_onnx, max_logit_difference, onnx_logits
from models.metadata import Metadata
from models.providers import Compute
from models.triton import triton_config
from pipeline.common.errors import UserError
from pipeline.common.files import atomic, sha256_files, sha256_json, write_json, write_text
from pipeline.common.layout import Layout
from pipeline.data.prepared import Prepared, load_prepared, read_report
from pipeline.distillation.methods import METHODS, served
from pipeline.evaluation.metrics import epoch_metrics
from pipeline.params.tree import Params, decisive
from pipeline.recipes.trained import own_thresholds, trained_student

TOLERANCE = 1e-4
"""Largest difference of a logit between ONNX and PyTorch, float32."""
AUROC_FALL = 0.001
"""By less than this the macro AUROC on validation may fall in float16."""


def run(params: Params, layout: Layout) -> None:
    """Write onnx/student.onnx, its float16 twin if that is as good, and what others must know of them.

    Raises UserError where the ONNX file answers differently from the network.
    """
    prepared, name = load_prepared(layout, params.task), served(params.methods)
    student = trained_student(params, layout, params.seeds[0], name, len(prepared.classes))
    metadata = _metadata(params, layout, prepared, name)
    with atomic(layout.onnx) as temporary:
        export_onnx(student, temporary, metadata)
        difference = max_logit_difference(student, temporary, prepared.images[prepared.rows("test")])
        if not difference <= TOLERANCE:
            raise UserError(f"export: ONNX and PyTorch differ by {difference:.2g} in a logit, more than {TOLERANCE:g}")
    print(f"export: {name} in {layout.onnx}; largest difference to PyTorch on the test set {difference:.1e}")
    half = _export_half(student, layout, prepared, metadata)
    write_json(layout.onnx_meta, asdict(metadata) | {"float16": half})
    write_text(layout.triton, triton_config(metadata, layout.onnx.name))


def _metadata(params: Params, layout: Layout, prepared: Prepared, name: str) -> Metadata:
    seed = params.seeds[0]
    tuned = own_thresholds(layout, prepared, seed, name)
    return Metadata(
        task=params.task,
        classes=prepared.classes,
        image_size=params.data.image_size,
        channels=prepared.images.shape[-1],
        resize=params.data.resize,
        thresholds=None if tuned is None else tuple(map(float, tuned)),
        data_source=params.data.source,
        method=name,
        seed=seed,
        data_hash=read_report(layout)["sha256"],
        labels_hash=sha256_files([layout.splits, layout.labels]),
        params_hash=sha256_json(decides(params, name)),
    )


def decides(params: Params, name: str) -> dict[str, Any]:
    """Return the parameters behind a method's student of the first seed; other methods' are left out."""
    left_out = ("seeds",) if METHODS[name].rival else ("seeds", "rivals.")
    chosen = {key: value for key, value in decisive(params).items() if not key.startswith(left_out)}
    return chosen | {"method": name, "seed": params.seeds[0]}


def _export_half(student: Classifier, layout: Layout, prepared: Prepared, metadata: Metadata) -> dict[str, Any]:
    """Write the network in float16 unless its AUROC on validation falls; returns both, and whether it is kept."""
    images, targets = prepared.images[prepared.rows("val")], prepared.targets("val")
    layout.onnx_half.unlink(missing_ok=True)  # of an earlier export
    with TemporaryDirectory() as folder:
        path = Path(folder) / layout.onnx_half.name
        export_onnx(student, path, replace(metadata, precision="float16"))
        logits = [onnx_logits(one, images, Compute()) for one in (layout.onnx, path)]
        full, half = (epoch_metrics(metadata.task, one, targets)["auroc_macro"] for one in logits)
        kept = is_as_good(full, half)
        if kept:
            with atomic(layout.onnx_half) as temporary:
                copyfile(path, temporary)
    change = f"AUROC on validation {full:.4f} in float32, {half:.4f} in float16"
    refusal = f"export: no float16 file is kept: {change}, which may fall by less than {AUROC_FALL:g}"
    print(f"export: {layout.onnx_half}; {change}" if kept else refusal)
    figures = {"auroc_macro_float32": full, "auroc_macro_float16": half}
    return {"kept": kept} | {key: value if np.isfinite(value) else None for key, value in figures.items()}


def is_as_good(full: float, half: float) -> bool:
    """Whether float16 is good enough, from the macro AUROC in float32 and float16; not where either is undefined."""
    return full - half < AUROC_FALL
