"""Is the exported ONNX file faster than the network in PyTorch? On the processor, with all cores, one and 64 images.

Both take stored uint8 pixels and give probabilities; PyTorch runs eagerly, without gradients. On a GPU the float16 file
is held against PyTorch in float16, eager and compiled.
"""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

from benchmarks.rows import Row, at_least, reported
from benchmarks.served import untrained_network
from benchmarks.timing import alternate
from models.classifier import Classifier
from models.export import Served, export_onnx
from models.metadata import Metadata
from models.providers import CPU, Compute, has_gpu, open_session
from pipeline.params.tree import Params
from pipeline.runtime.workers import count_cores

SIZE, BATCHES, GPU_BATCHES = 64, (1, 64), (1, 32, 256)
LIMIT = 1.1
RUNS = {1: 20, 32: 5, 64: 2, 256: 2}
"""Runs in each turn, so that a turn is not too short for the clock."""


def measure(params: Params) -> list[Row]:
    """Return how many times as fast the ONNX file is."""
    torch.set_num_threads(count_cores())
    classifier, metadata = untrained_network(SIZE)
    pixels = np.random.default_rng(0).integers(0, 256, (max(GPU_BATCHES), SIZE, SIZE, 3), np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "student.onnx"
        export_onnx(classifier, path, metadata)
        session, eager = open_session(path, Compute((CPU,))), Served(classifier, metadata.task).eval()
        rows = [
            at_least(
                f"onnx_b{batch}",
                _ratios(_onnx(session), _torch(eager, "cpu"), pixels, batch),
                LIMIT,
                f"speed of ONNX over eager PyTorch, ResNet-18, {SIZE} px, batch {batch}, {count_cores()} cores",
            )
            for batch in BATCHES
        ]
        return rows + (_on_gpu(classifier, metadata, Path(folder), pixels) if has_gpu() else [])


def _on_gpu(classifier: Classifier, metadata: Metadata, folder: Path, pixels: np.ndarray) -> list[Row]:
    """Float16 on CUDA; the pixels come from the host's memory and the probabilities go back there."""
    path = folder / "half.onnx"
    export_onnx(classifier, path, replace(metadata, precision="float16"))
    session = open_session(path, Compute(require_gpu=True))
    half = Served(classifier, metadata.task, half=True).eval().cuda()
    rivals = {"eager": half, "compiled": torch.compile(half)}
    return [
        reported(
            f"onnx_cuda_b{batch}_{name}",
            _ratios(_onnx(session), _torch(rival, "cuda"), pixels, batch),
            f"speed of ONNX float16 on CUDA over {name} PyTorch float16, ResNet-18, {SIZE} px, batch {batch}",
        )
        for batch in GPU_BATCHES
        for name, rival in rivals.items()
    ]


def _onnx(session: onnxruntime.InferenceSession) -> Callable[[np.ndarray], object]:
    return lambda block: session.run(["probabilities"], {"pixels": block})


def _torch(network: Callable[..., Any], device: str) -> Callable[[np.ndarray], object]:
    @torch.inference_mode()
    def run(block: np.ndarray) -> object:
        return network(torch.from_numpy(block).to(device))[0].cpu().numpy()

    return run


def _ratios(
    ours: Callable[[np.ndarray], object], theirs: Callable[[np.ndarray], object], pixels: np.ndarray, batch: int
) -> np.ndarray:
    """Return PyTorch's seconds over ONNX's in each turn."""
    block, runs = pixels[:batch], RUNS[batch]
    seconds = alternate(
        {"onnx": lambda: [ours(block) for _ in range(runs)], "torch": lambda: [theirs(block) for _ in range(runs)]}
    )
    return seconds["torch"] / seconds["onnx"]
