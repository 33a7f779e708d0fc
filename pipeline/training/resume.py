"""Resume files: what a killed training needs to end bit for bit as an unbroken one."""

from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from pipeline.common.files import atomic


class ResumeFile:
    """One training's state, written atomically once per epoch and removed when the training is done."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self, device: torch.device) -> dict[str, Any] | None:
        """Return the saved state, or None where there is none; tensors come to `device`.

        A file that is damaged is set aside with a message, and the training begins again.
        """
        if not self.path.exists():
            return None
        try:
            return torch.load(self.path, map_location=device, weights_only=True)
        except (OSError, EOFError, RuntimeError, ValueError, KeyError, UnpicklingError) as error:
            aside = self.path.with_suffix(f"{self.path.suffix}.damaged")
            self.path.replace(aside)
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            print(
                f"{self.path}: is damaged ({reason}); set aside as {aside.name}, this training begins again", flush=True
            )
            return None

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
