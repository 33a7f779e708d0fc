"""What pretrained weights a network starts from, by their content: it counts where a result depends on them."""

from pathlib import Path
from typing import Any

from models.weights_file import weights_file
from pipeline.common.files import file_state, sha256_file
from pipeline.params.learning import Network

_known: dict[tuple[Path, Any], str] = {}


def weights_identity(network: Network) -> str | None:
    """Return None from scratch, "imagenet", or the SHA-256 of the file. Raises ModelError where there is none."""
    if network.weights in (None, "imagenet"):
        return network.weights
    path = weights_file(network.weights, network.architecture)
    key = (path, file_state(path))
    if key not in _known:
        _known[key] = sha256_file(path)
    return _known[key]


def decisive(network: Network) -> dict[str, Any]:
    """Return what decides a network before it is trained, for the keys of the store."""
    own = {"architecture": network.architecture, "weights": weights_identity(network), "train": network.train}
    return own | network.layers
