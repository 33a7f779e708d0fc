"""What computes: as asked, said in the log, and refused in plain words where it cannot be had."""

import logging

import onnxruntime
import pytest

from models import providers
from models.errors import ModelError
from models.providers import CPU, CUDA, TENSORRT, Compute, open_session


@pytest.fixture
def machine(monkeypatch):
    """Pretend what the machine has: machine(gpu, available, usable); returns what onnxruntime was asked for."""
    plain, asked = onnxruntime.InferenceSession, []

    def pretend(gpu: bool, available: tuple[str, ...], usable: tuple[str, ...]) -> list:
        class Session:
            def __init__(self, path, options, providers):
                self.asked = [name if isinstance(name, str) else name[0] for name in providers]
                self.options = {name[0]: name[1] for name in providers if not isinstance(name, str)}
                asked.append((self.asked, self.options, options.intra_op_num_threads))
                self.inner = plain(path, options, providers=[CPU])

            def get_providers(self):
                return [name for name in self.asked if name in usable]

        monkeypatch.setattr(providers, "has_gpu", lambda: gpu)
        monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: asked.append("preloaded"))
        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: list(available))
        monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
        return asked

    return pretend


def test_without_a_gpu_the_processor_computes_and_the_log_says_so(write_student, machine, caplog):
    asked = machine(gpu=False, available=(TENSORRT, CUDA, CPU), usable=(CPU,))
    with caplog.at_level(logging.INFO, "models.providers"):
        assert open_session(write_student(), Compute(threads=2)).get_providers() == [CPU]
    assert asked == [([CPU], {}, 2)]
    assert caplog.messages == ["student.onnx computes on CPUExecutionProvider"]


def test_on_a_gpu_its_libraries_are_loaded_first_and_it_computes_in_full_float32(write_student, machine, caplog):
    asked = machine(gpu=True, available=(TENSORRT, CUDA, CPU), usable=(CUDA, CPU))
    with caplog.at_level(logging.INFO, "models.providers"):
        open_session(write_student(), Compute(require_gpu=True))
    options = {CUDA: {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}}
    assert asked == ["preloaded", ([CUDA, CPU], options, 0)]
    assert caplog.messages == ["student.onnx computes on CUDAExecutionProvider"]


def test_a_gpu_that_cannot_be_used_is_a_warning(write_student, machine, caplog):
    machine(gpu=True, available=(CUDA, CPU), usable=(CPU,))
    open_session(write_student(), Compute())
    assert "a GPU is there, but onnxruntime cannot use it: student.onnx computes on CPU" in caplog.text


def test_the_processor_is_no_fault_where_it_was_asked_for(write_student, machine, caplog):
    machine(gpu=True, available=(CUDA, CPU), usable=(CPU,))
    open_session(write_student(), Compute(providers=(CPU,)))
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("gpu", "reason"),
    [(False, "no NVIDIA driver shows a GPU. Check nvidia-smi"), (True, "onnxruntime cannot use the GPU that is there")],
)
def test_a_gpu_that_is_required(write_student, machine, gpu, reason):
    machine(gpu=gpu, available=(CUDA, CPU), usable=(CPU,))
    with pytest.raises(
        ModelError, match=rf"require_gpu is true, but .* CPUExecutionProvider: {reason}.*set serving.require_gpu: false"
    ):
        open_session(write_student(), Compute(require_gpu=True))


@pytest.mark.parametrize(
    ("gpu", "available", "reason"),
    [
        (True, (CUDA, CPU), "this onnxruntime is built without it"),
        (False, (TENSORRT, CUDA, CPU), "no NVIDIA driver shows a GPU"),
        (True, (TENSORRT, CUDA, CPU), "onnxruntime cannot load its libraries"),
    ],
)
def test_tensorrt_that_is_not_there_is_named(write_student, machine, gpu, available, reason):
    machine(gpu=gpu, available=available, usable=(CUDA, CPU))
    with pytest.raises(ModelError, match=rf"names TensorrtExecutionProvider, but {reason}.*remove it"):
        open_session(write_student(), Compute(providers=(TENSORRT, CUDA, CPU)))


def test_tensorrt_keeps_its_engines(write_student, machine, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    asked = machine(gpu=True, available=(TENSORRT, CUDA, CPU), usable=(TENSORRT, CPU))
    open_session(write_student(), Compute(providers=(TENSORRT, CPU)))
    names, options, _ = asked[-1]
    assert names == [TENSORRT, CPU]
    assert options[TENSORRT] == {
        "trt_engine_cache_enable": "True",
        "trt_engine_cache_path": str(tmp_path / ".cache/roskd-tensorrt"),
        "trt_fp16_enable": "False",
    }


@pytest.mark.parametrize("names", [("CudaExecutionProvider", CPU), (CUDA,), ()])
def test_other_providers(write_student, names):
    with pytest.raises(ModelError, match=r"providers is \[.*allowed are TensorrtExecutionProvider, CUDA"):
        open_session(write_student(), Compute(providers=names))


def test_a_configuration_comes_back():
    compute = Compute((CPU,), require_gpu=True, threads=3)
    assert Compute.from_config(compute.config()) == compute
    assert Compute.from_config({}) == Compute((CUDA, CPU), require_gpu=False, threads=0)
