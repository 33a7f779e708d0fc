"""Which device a training runs on, and in which precision."""

from typing import Literal

import torch
from torch import nn

from pipeline.common.errors import UserError
from pipeline.runtime.memory import keep_freed_memory


def pick_device(wish: str, local_rank: int = 0) -> torch.device:
    """Return the device for `machine.device`: auto takes the GPU where there is one. Raises UserError.

    `local_rank`: which GPU, where several processes of one machine have one each.

    On a GPU, float32 convolutions and products outside autocast (evaluation, soft labels, BatchNorm statistics) may use
    TF32: its 11 significant bits are what float16 soft labels keep, at several times the speed. On a processor the
    memory of freed tensors is kept.
    """
    if wish == "cuda" and not torch.cuda.is_available():
        raise UserError("machine.device is cuda, but torch sees no CUDA device; set it to auto or cpu")
    if wish == "cpu" or not torch.cuda.is_available():
        keep_freed_memory()
        return torch.device("cpu")
    torch.backends.cudnn.benchmark = True  # two batch sizes an epoch: each is tuned once
    torch.set_float32_matmul_precision("high")
    if local_rank >= torch.cuda.device_count():
        raise UserError(
            f"machine.processes asks for {local_rank + 1} or more processes, but this machine has "
            f"{torch.cuda.device_count()} GPUs; set it to null (one per GPU)"
        )
    torch.cuda.set_device(local_rank)
    return torch.device("cuda", local_rank)


def autocast_dtype(
    device: torch.device, model: nn.Module, precision: Literal["auto", "float32"] = "auto"
) -> torch.dtype | None:
    """Return what `training.precision` makes autocast compute training steps in, or None for float32 throughout.

    On a CPU bfloat16 is taken where it is faster. Speed of a training step against float32, both channels last (AMD
    EPYC with avx512_bf16, one thread, batch 64, median of 3, beside other work): at 64 px ResNet-18 1.81, -34 1.69,
    -50 1.61, DenseNet-121 1.43; at 32 px 1.22, 1.31, 1.29 and 1.53. MobileNet-v2 0.45 and 0.49: the backward pass of
    its depthwise convolutions has no fast bfloat16 code.
    """
    if precision == "float32":
        return None
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else None
    return torch.bfloat16 if _has_bf16() and not _has_depthwise(model) else None


def _has_bf16() -> bool:
    """Whether the processor multiplies bfloat16 itself."""
    able = torch.cpu.get_capabilities()
    return any(able.get(name, False) for name in ("avx512_bf16", "amx_bf16"))


def _has_depthwise(model: nn.Module) -> bool:
    return any(isinstance(part, nn.Conv2d) and part.groups == part.in_channels > 1 for part in model.modules())
