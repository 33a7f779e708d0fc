"""Notice that DVC has died: a killed `dvc repro` leaves its stage's process alive, which would go on training."""

import os

import psutil

from pipeline.errors import UserError


class DvcWatch:
    """Remembers the DVC process above this one; outside DVC (nohup, a cluster's queue) it watches nothing."""

    def __init__(self) -> None:
        self._dvc = None
        if "DVC_STAGE" in os.environ:
            parents = psutil.Process().parents()
            self._dvc = next((process for process in parents if _is_dvc(process)), None)

    def require_alive(self) -> None:
        """Raise UserError if DVC is gone; the resume file lets the next run go on from here."""
        if self._dvc is not None and not self._dvc.is_running():
            raise UserError("the dvc process that started this stage is gone; stopping. The next run continues here")


def _is_dvc(process: psutil.Process) -> bool:
    try:
        return any("dvc" in part for part in process.cmdline()[:3])
    except psutil.Error:
        return False
