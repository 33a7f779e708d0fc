"""Copies of the project in temporary folders, for the rows that time whole commands of it."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.common.files import write_text
from pipeline.params.file import PARAMS_FILE
from pipeline.params.overlay import overlaid

ROOT = Path(__file__).parents[1]
LEFT_OUT = ("MLFLOW_", "MAKE", "MFLAGS", "BENCH", "PRESET", "DATA", "ROSKD_")
"""Beginnings of environment variables that would change the experiment: a tracker, or what `make bench` was given."""


def copy_project(project: Path, settings: Mapping[str, Any] | None = None) -> None:
    """Copy what git knows or would take, lay `settings` over params.yaml, and make a repository of it.

    The copy has no artefacts, cache or tracker. Raises UserError for settings that params.yaml could not hold.
    """
    listed = ["git", "ls-files", "-co", "--exclude-standard"]
    for name in subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines():
        if (ROOT / name).is_file() and name != "dvc.lock":
            (project / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, project / name)
    if settings:
        text, _ = overlaid(project / PARAMS_FILE, dict(settings), "the benchmark's settings")
        write_text(project / PARAMS_FILE, text)
    identity = ["-c", "user.name=benchmark", "-c", "user.email=benchmark@example.org"]
    for command in (["init", "-q"], ["add", "-A"], [*identity, "commit", "-qm", "copy"]):
        subprocess.run(["git", *command], cwd=project, check=True)


def wall_seconds(project: Path, *command: str, **variables: str) -> float:
    """Run a command in a copy, with these environment variables beside the user's, and return its wall seconds.

    `python` is this environment's. Raises CalledProcessError where the command fails.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(LEFT_OUT)}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', '')}"
    started = time.perf_counter()
    subprocess.run(command, cwd=project, env=kept | {"PATH": path} | variables, check=True)
    return time.perf_counter() - started
