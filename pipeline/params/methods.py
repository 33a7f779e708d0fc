"""Lists of methods in params.yaml: each known, each once."""

import difflib
from collections.abc import Sequence

from pipeline.distillation.methods import METHODS


def require_methods(names: Sequence[str], origin: str) -> None:
    """Raise ValueError unless all `names` are methods, and each is there once; `origin` is the parameter's name."""
    if len(set(names)) < len(names):
        raise ValueError(f"{origin} is {list(names)}; the values must be unique")
    for name in names:
        if name not in METHODS:
            near = difflib.get_close_matches(name, METHODS, 1)
            hint = f"did you mean {near[0]}?" if near else f"the methods are {', '.join(METHODS)}"
            raise ValueError(f"{origin} names {name!r}, which is no method; {hint}")
