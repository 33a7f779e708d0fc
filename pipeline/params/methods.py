"""Lists of methods in params.yaml: each known, each once."""

from collections.abc import Sequence

from models.errors import hint
from pipeline.distillation.methods import METHODS


def require_methods(names: Sequence[str], origin: str) -> None:
    """Raise ValueError unless all `names` are methods, and each is there once; `origin` is the parameter's name."""
    if len(set(names)) < len(names):
        raise ValueError(f"{origin} is {list(names)}; the values must be unique")
    for name in names:
        if name not in METHODS:
            meant = hint(name, METHODS, f"the methods are {', '.join(METHODS)}")
            raise ValueError(f"{origin} names {name!r}, which is no method; {meant}")
