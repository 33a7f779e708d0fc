"""Which device a training runs on."""

import torch

from pipeline.errors import UserError


def pick_device(wish: str) -> torch.device:
    """Return the device for `training.device`: auto takes the GPU where there is one. Raises UserError."""
    if wish == "cuda" and not torch.cuda.is_available():
        raise UserError("training.device is cuda, but torch sees no CUDA device; set it to auto or cpu")
    return torch.device("cuda" if wish != "cpu" and torch.cuda.is_available() else "cpu")
