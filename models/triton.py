"""The configuration with which NVIDIA's Triton Inference Server serves an exported student."""

import json

from models.metadata import Metadata
from models.providers import BATCH

QUEUED = 2000
"""Microseconds that a request waits at most for others, which are computed in the same batch."""


def triton_config(metadata: Metadata, file_name: str) -> str:
    """Return config.pbtxt for the ONNX file `file_name`: requests of any size up to 32 are batched by the server.

    Triton's folder of models then holds `<name>/config.pbtxt` and `<name>/1/<file_name>`, under any name.
    """
    side, channels, classes = metadata.image_size, metadata.channels, len(metadata.classes)
    return f"""\
backend: "onnxruntime"
default_model_filename: {_quoted(file_name)}
max_batch_size: {BATCH}
input [
  {{ name: "pixels" data_type: TYPE_UINT8 dims: [ {side}, {side}, {channels} ] }}
]
output [
  {{ name: "probabilities" data_type: TYPE_FP32 dims: [ {classes} ] }},
  {{ name: "logits" data_type: TYPE_FP32 dims: [ {classes} ] }}
]
dynamic_batching {{
  max_queue_delay_microseconds: {QUEUED}
}}
parameters [
  {{ key: "task" value: {{ string_value: {_quoted(metadata.task)} }} }},
  {{ key: "classes" value: {{ string_value: {_quoted(json.dumps(metadata.classes))} }} }},
  {{ key: "resize" value: {{ string_value: {_quoted(metadata.resize)} }} }}
]
"""


def _quoted(text: str) -> str:
    """A string of protobuf's text format, which escapes as JSON does."""
    return json.dumps(text)
