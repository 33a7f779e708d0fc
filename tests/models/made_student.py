"""A student whose answers can be worked out by head: its logits are a linear function of the image's mean colour."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from models.metadata import KEY

SIZE = 8
CLASSES = ["MEL", "NV", "BCC"]
OF_RED = [0.7, 0.2, 0.1]
OF_GREEN = [1 / 3, 1 / 3, 1 / 3]
OF_BLUE = [0.1, 0.3, 0.6]


@pytest.fixture
def write_student(tmp_path) -> Callable[..., Path]:
    """Write student.onnx and return its path. `changes` go into its metadata, None removes a key.

    multiclass: a red image has the probabilities OF_RED, and so on. multilabel: each finding on its own has them.
    """

    def write(task: str = "multiclass", **changes: object) -> Path:
        channels = 3
        wanted = np.array([OF_RED, OF_GREEN, OF_BLUE])
        weights = np.log(wanted) if task == "multiclass" else np.log(wanted / (1 - wanted))
        constants = {
            "weights": weights.astype(np.float32),
            "white": np.array(255, np.float32),
            "sides": np.array([1, 2]),
        }
        nodes = [
            helper.make_node("Cast", ["pixels"], ["float"], to=TensorProto.FLOAT),
            helper.make_node("Div", ["float", "white"], ["unit"]),
            helper.make_node("ReduceMean", ["unit", "sides"], ["mean"], keepdims=0),
            helper.make_node("MatMul", ["mean", "weights"], ["logits"]),
            helper.make_node("Softmax" if task == "multiclass" else "Sigmoid", ["logits"], ["probabilities"]),
        ]
        inputs = [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["batch", SIZE, SIZE, channels])]
        outputs = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", len(CLASSES)])
            for name in ("probabilities", "logits")
        ]
        graph = helper.make_graph(
            nodes, "student", inputs, outputs, [numpy_helper.from_array(v, name) for name, v in constants.items()]
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
        plain = {
            "data_source": "phantom",
            "task": task,
            "classes": CLASSES,
            "image_size": SIZE,
            "resize": "crop",
            "channels": channels,
            "thresholds": [0.6, 0.25, 0.3] if task == "multilabel" else None,
        }
        meta = {key: value for key, value in (plain | changes).items() if value is not None}
        helper.set_model_props(model, {KEY: json.dumps(meta)})
        onnx.checker.check_model(model)
        folder = tmp_path / "exported"
        folder.mkdir(exist_ok=True)
        onnx.save(model, folder / "student.onnx")
        return folder / "student.onnx"

    return write
