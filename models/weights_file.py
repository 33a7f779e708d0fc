"""Which file pretrained weights are in; no torch is needed for that."""

from pathlib import Path

from models.errors import WeightsError
from models.names import TIMM

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")


def weights_file(weights: str, architecture: str) -> Path:
    """Return the file that `weights` names: itself, or in a folder the one called like the architecture.

    Raises WeightsError where there is none.
    """
    path = Path(weights)
    if not path.is_dir():
        if not path.is_file():
            raise WeightsError(f"weights {weights}: no such file or folder; name one, or imagenet, or null")
        return path
    stem = architecture.removeprefix(TIMM)
    found = [path / f"{stem}{suffix}" for suffix in SUFFIXES if (path / f"{stem}{suffix}").is_file()]
    if not found:
        raise WeightsError(f"weights {weights}: the folder has no {stem}.safetensors (or .pth) for {architecture}")
    return found[0]
