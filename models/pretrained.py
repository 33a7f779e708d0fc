"""Weights from a file: a published network's, for its backbone."""

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from models.errors import WeightsError

WRAPPERS = ("state_dict", "model")
"""Keys under which some publishers keep the state dict."""
SHOWN = 3


def read_state(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file or a state dict saved by torch; nothing in it is executed. Raises WeightsError."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file may raise anything, and nothing else happens here
        reason = "it holds more than tensors" if isinstance(error, pickle.UnpicklingError) else _first_line(error)
        raise WeightsError(
            f"weights {path}: cannot be read ({reason}). It must be a safetensors file, or a state dict saved by "
            "torch.save (nothing else in it: nothing is executed from a file)"
        ) from None
    for name in WRAPPERS:
        if isinstance(state, Mapping) and isinstance(state.get(name), Mapping):
            state = state[name]
    if not isinstance(state, Mapping) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()
    ):
        raise WeightsError(f"weights {path}: holds no state dict, which would be tensors by name")
    return dict(state)


def load_backbone(network: nn.Module, path: Path, classifier: Sequence[str], title: str) -> None:
    """Load a file into `network`; what begins with one of `classifier`, the published head, is left out.

    Raises WeightsError that names the first missing, surplus and wrongly shaped tensors.
    """
    heads = tuple(f"{name}." for name in classifier)
    state = {name: value for name, value in read_state(path).items() if not name.startswith(heads)}
    own = {name: value for name, value in network.state_dict().items() if not name.startswith(heads)}
    needed = [name for name in own if not name.endswith("num_batches_tracked")]
    wrong = {
        "missing": [name for name in needed if name not in state],
        "surplus": [name for name in state if name not in own],
        "wrongly shaped": [
            f"{name} {tuple(value.shape)} instead of {tuple(own[name].shape)}"
            for name, value in state.items()
            if name in own and value.shape != own[name].shape
        ],
    }
    if any(wrong.values()):
        listed = "; ".join(f"{kind}: {_first(names)}" for kind, names in wrong.items() if names)
        raise WeightsError(f"weights {path}: are not those of {title}. {listed}")
    network.load_state_dict(state, strict=False)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


def _first(names: Sequence[str]) -> str:
    rest = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + rest
