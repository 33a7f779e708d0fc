"""Triton's configuration names what the ONNX file takes and gives."""

import json
import re

import onnxruntime

from models.metadata import Metadata
from models.triton import triton_config


def test_inputs_and_outputs_are_those_of_the_file(write_student):
    session = onnxruntime.InferenceSession(write_student(), providers=["CPUExecutionProvider"])
    metadata = Metadata(task="multiclass", classes=('a "b"', "Ödem", "c"), image_size=8, channels=3, resize="crop")
    text = triton_config(metadata, "student.onnx")
    found = re.findall(r"name: \"(\w+)\" data_type: TYPE_(\w+) dims: \[ ([\d, ]+) \]", text)
    kinds = {"tensor(uint8)": "UINT8", "tensor(float)": "FP32"}
    described = [(v.name, kinds[v.type], v.shape) for v in session.get_inputs() + session.get_outputs()]
    assert [(name, kind, ["batch", *map(int, dims.split(","))]) for name, kind, dims in found] == described
    assert 'default_model_filename: "student.onnx"' in text
    assert text.count("dynamic_batching {") == 1
    (classes,) = re.findall(r'key: "classes" value: \{ string_value: (".*") \} \}', text)
    assert json.loads(json.loads(classes)) == ['a "b"', "Ödem", "c"]
