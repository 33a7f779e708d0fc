"""Notes when a Python process ran and when it computed in torch; overhead.py puts this folder on PYTHONPATH.

Python imports `sitecustomize` at its start. The functions in which the stages' tensor work is done are wrapped as their
modules are imported; at its end the process writes seconds since the epoch to <pid>.json in the folder that
ROSKD_CLOCK names.
"""

import atexit
import importlib.abc
import importlib.machinery
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from types import ModuleType
from typing import Any

WATCHED = {
    "models.inference": ("predict",),
    "pipeline.training.inputs": ("answers",),
    "pipeline.training.loop": ("_Training._train",),
    "pipeline.distillation.smoothing": ("RunningAverage.update", "RunningAverage.finish"),
}
"""Where tensor work is done: steps with their views, predictions (evaluation, soft labels), and smoothing."""

intervals: list[tuple[float, float]] = []


def timed(function: Callable[..., Any]) -> Callable[..., Any]:
    """Note each call's beginning and end."""

    @wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        begun = time.time()
        try:
            return function(*arguments, **named)
        finally:
            intervals.append((begun, time.time()))

    return call


class Watcher(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports watched modules as Python does, then wraps their functions before anyone else has them."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Take watched modules; others are left to Python."""
        if fullname not in WATCHED:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path)
        if spec is not None and spec.loader is not None:
            self._loader, spec.loader = spec.loader, self
        return spec

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        """Python's own way."""
        return None

    def exec_module(self, module: ModuleType) -> None:
        """Run the module, then wrap."""
        loader = self._loader
        loader.exec_module(module)
        for name in WATCHED[module.__name__]:
            *owners, last = name.split(".")
            owner = module
            for part in owners:
                owner = getattr(owner, part)
            setattr(owner, last, timed(getattr(owner, last)))


def write(folder: Path, started: float) -> None:
    """Leave this process's times."""
    record = {"arguments": sys.orig_argv, "started": started, "ended": time.time(), "torch": intervals}
    (folder / f"{os.getpid()}.json").write_text(json.dumps(record))


if "ROSKD_CLOCK" in os.environ:
    sys.meta_path.insert(0, Watcher())
    atexit.register(write, Path(os.environ["ROSKD_CLOCK"]), time.time())
