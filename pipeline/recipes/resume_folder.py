"""The working folder of one stage: what is unfinished lies in artifacts/resume/ until it is whole."""

import shutil
from pathlib import Path
from typing import Any

from pipeline.common import layout as artifacts
from pipeline.common.files import sha256_json


class ResumeFolder:
    """A folder whose name ends in a hash of everything that decides the stage's result.

    So a run with other parameters or data starts afresh; leftovers of such other runs of the same stage are removed.
    """

    def __init__(self, stage: str, decides: Any, root: Path = artifacts.RESUME, *, clears: bool = True) -> None:
        """`clears` False leaves other runs' leftovers alone; every process but the first of a stage passes it."""
        self.path = root / f"{stage}-{sha256_json(decides)[:12]}"
        for stale in root.glob(f"{stage}-{'?' * 12}") if clears else ():
            if stale != self.path:
                shutil.rmtree(stale)
        self.path.mkdir(parents=True, exist_ok=True)

    def remove(self) -> None:
        """Forget everything; called when the stage's outputs are in place."""
        shutil.rmtree(self.path, ignore_errors=True)
