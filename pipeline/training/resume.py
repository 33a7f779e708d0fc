"""Resume files: what a killed training needs to end bit for bit as an unbroken one."""

from pathlib import Path
from typing import Any

import torch

from pipeline.common.files import atomic


class ResumeFile:
    """One training's state, written atomically once per epoch and removed when the training is done."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self, device: torch.device) -> dict[str, Any] | None:
        """Return the saved state, or None where there is none; tensors come to `device`."""
        if not self.path.exists():
            return None
        return torch.load(self.path, map_location=device, weights_only=True)

    def save(self, state: dict[str, Any]) -> None:
        """Write the state."""
        with atomic(self.path) as temporary:
            torch.save(state, temporary)


def random_state(device: torch.device) -> dict[str, torch.Tensor]:
    """Return torch's random states (dropout draws from them)."""
    states = {"cpu": torch.get_rng_state()}
    return states | {"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else states


def restore_random_state(states: dict[str, torch.Tensor], device: torch.device) -> None:
    """Put torch's random states back."""
    torch.set_rng_state(states["cpu"].cpu())
    if device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"].cpu(), device)
