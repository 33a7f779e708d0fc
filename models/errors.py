"""What the networks and their serving refuse, in words for the person who asked."""

import difflib
from collections.abc import Iterable


class ModelError(ValueError):
    """Base of this package's errors; the message names the file or value, what is allowed and what to do."""


class WeightsError(ModelError):
    """Weights that cannot be had or do not fit the network; the message names the file or address and what to do."""


def hint(name: str, known: Iterable[str], otherwise: str) -> str:
    """Return what a message about an unknown name ends with: the nearest of `known`, or `otherwise` if none is near."""
    near = difflib.get_close_matches(name, list(known), 1)
    return f"did you mean {near[0]}?" if near else otherwise
