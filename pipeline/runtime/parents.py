"""Notice that the parent process has died: a killed `dvc repro` or torchrun leaves its processes training."""

import os

import psutil

from pipeline.common.errors import UserError
from pipeline.runtime.launch import under_torchrun


class ParentWatch:
    """Remembers the DVC process above this one, and the torchrun agent that started it, where there are such.

    Outside both (nohup, a cluster's queue) it watches nothing.
    """

    def __init__(self) -> None:
        self._watched: list[tuple[str, psutil.Process]] = []
        parents = psutil.Process().parents()
        if under_torchrun() and parents:
            self._watched.append(("torchrun", parents[0]))
        if "DVC_STAGE" in os.environ:
            self._watched += [("dvc", process) for process in parents if _is_dvc(process)][:1]

    def require_alive(self) -> None:
        """Raise UserError if one of them is gone; the resume file lets the next run continue from here."""
        for name, process in self._watched:
            if not process.is_running():
                raise UserError(
                    f"the {name} process that started this stage is gone; stopping. The next run continues here"
                )


def _is_dvc(process: psutil.Process) -> bool:
    try:
        return any("dvc" in part for part in process.cmdline()[:3])
    except psutil.Error:
        return False
