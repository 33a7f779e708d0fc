"""Resume files: what a killed training needs to end bit for bit as an unbroken one."""

import shutil
from pathlib import Path
from typing import Any

import torch

from pipeline import artifacts
from pipeline.files import atomic, sha256_json


class ResumeFolder:
    """The working folder of one stage: unfinished trainings, and finished ones that wait for their siblings.

    Its name ends in a hash of everything that decides the result, so that a run with other parameters or data starts
    afresh; leftovers of such other runs of the same stage are removed.
    """

    def __init__(self, stage: str, decides: Any, root: Path = artifacts.RESUME) -> None:
        self.path = root / f"{stage}-{sha256_json(decides)[:12]}"
        for stale in root.glob(f"{stage}-{'?' * 12}"):
            if stale != self.path:
                shutil.rmtree(stale)
        self.path.mkdir(parents=True, exist_ok=True)

    def remove(self) -> None:
        """Forget everything; called when the stage's outputs are in place."""
        shutil.rmtree(self.path, ignore_errors=True)


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
