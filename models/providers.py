"""Where an exported network computes: on TensorRT, CUDA or the processor, as asked, and never silently elsewhere."""

import ctypes
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime

from models.errors import ModelError

TENSORRT, CUDA, CPU = "TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"
PROVIDERS = (TENSORRT, CUDA, CPU)
BATCH = 32
"""Images that a session is given at once."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Compute:
    """What computes. `providers`: onnxruntime's, in order of preference; `threads` of the processor, 0 = every core.

    `require_gpu`: refuse to compute on the processor.
    """

    providers: tuple[str, ...] = (CUDA, CPU)
    require_gpu: bool = False
    threads: int = 0

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "Compute":
        """Return what a model's configuration says (`config` of `Compute`); keys that are missing have defaults."""
        plain = cls()
        return cls(
            tuple(config.get("providers") or plain.providers),
            bool(config.get("require_gpu", plain.require_gpu)),
            int(config.get("threads", plain.threads)),
        )

    def config(self) -> dict[str, Any]:
        """Return the JSON-able form."""
        return {"providers": list(self.providers), "require_gpu": self.require_gpu, "threads": self.threads}


def open_session(path: Path, compute: Compute) -> onnxruntime.InferenceSession:
    """Open an ONNX file on the first provider that is there, and log which.

    CUDA gives way to the processor where there is no GPU, unless `require_gpu`; TensorRT, which nobody asks for by
    default, never gives way. Raises ModelError that says what is missing and what to do.
    """
    gpu = has_gpu()
    _require_known(compute, gpu)
    wanted = [name for name in compute.providers if name == CPU or (gpu and name in _available())]
    if wanted != [CPU]:
        onnxruntime.preload_dlls()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = compute.threads
    # threads that wait for the next request by spinning take the cores from whoever decodes and answers
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(path, options, providers=[_with_options(name) for name in wanted])
    except Exception as error:  # onnxruntime's own exceptions have no common base
        raise ModelError(
            f"{path}: cannot be opened as an ONNX network ({error}); export the student again (make repro)"
        ) from error
    _require_wanted(path, compute, session.get_providers(), gpu)
    return session


def has_gpu() -> bool:
    """Whether an NVIDIA driver is installed and shows at least one device."""
    count = ctypes.c_int(0)
    for name in ("libcuda.so.1", "nvcuda.dll"):
        try:
            driver = ctypes.CDLL(name)
        except OSError:
            continue
        return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0
    return False


def _available() -> list[str]:
    return onnxruntime.get_available_providers()


def _require_known(compute: Compute, gpu: bool) -> None:
    """Raise ModelError for a provider that nobody knows, and for TensorRT where it cannot be."""
    unknown = [name for name in compute.providers if name not in PROVIDERS]
    if unknown or CPU not in compute.providers:
        raise ModelError(
            f"providers is {list(compute.providers)}; allowed are {', '.join(PROVIDERS)}, and {CPU} must be one of them"
        )
    if TENSORRT not in compute.providers:
        return
    if TENSORRT not in _available():
        raise _without_tensorrt("this onnxruntime is built without it (onnxruntime-gpu has it)")
    if not gpu:
        raise _without_tensorrt("no NVIDIA driver shows a GPU")


def _require_wanted(path: Path, compute: Compute, used: Sequence[str], gpu: bool) -> None:
    """Log what computes; raise ModelError where it is not what was asked for."""
    if TENSORRT in compute.providers and TENSORRT not in used:
        raise _without_tensorrt("onnxruntime cannot load its libraries (pip install tensorrt-cu13)")
    if used[0] != CPU:
        logger.info("%s computes on %s", path.name, used[0])
        return
    reason = "onnxruntime cannot use the GPU that is there" if gpu else "no NVIDIA driver shows a GPU"
    if compute.require_gpu:
        raise ModelError(
            f"serving.require_gpu is true, but {path.name} would compute on {CPU}: {reason}. Check nvidia-smi and that "
            "onnxruntime-gpu[cuda,cudnn] is installed without onnxruntime beside it, or set serving.require_gpu: false"
        )
    if gpu and CUDA in compute.providers:
        logger.warning("a GPU is there, but onnxruntime cannot use it: %s computes on %s, much slower", path.name, CPU)
    else:
        logger.info("%s computes on %s", path.name, CPU)


def _without_tensorrt(reason: str) -> ModelError:
    return ModelError(
        f"serving.providers names {TENSORRT}, but {reason}. Install TensorRT, or remove it from serving.providers"
    )


def _with_options(name: str) -> Any:
    """A provider with its options.

    TF32 would make a GPU's probabilities differ from a CPU's; the exhaustive search repeats for each batch size.
    TensorRT keeps the engine that it builds, which takes minutes, for the user's next start.
    """
    if name == CUDA:
        return name, {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}
    if name == TENSORRT:
        cache = Path.home() / ".cache" / "roskd-tensorrt"
        return name, {
            "trt_engine_cache_enable": "True",
            "trt_engine_cache_path": str(cache),
            "trt_fp16_enable": "False",
        }
    return name
