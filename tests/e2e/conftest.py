"""The tiny project, in a folder whose name has a space, run once through `dvc repro` and killed once on the way."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from pipeline.common.files import locked
from tests.e2e.project import Project, environment, make_project

PRINTED, KILLED = "printed.log", "killed.log"


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> tuple[Project, str]:
    """The finished project, and what `dvc repro` printed; tests change copies of it. All processes share one."""
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "finished"
    shared.mkdir(exist_ok=True)
    with locked(shared / "lock"):
        folder = shared / "my project"
        if not (shared / PRINTED).exists():
            project = make_project(folder)
            (shared / KILLED).write_text(_run_and_kill_a_student(project))
            (shared / PRINTED).write_text((shared / KILLED).read_text() + project.repro())
    return Project(folder), (shared / PRINTED).read_text()


def _run_and_kill_a_student(project: Project) -> str:
    """Begin `dvc repro` and kill -9 all of it while a student of the stage student_subset trains."""
    log = project.path.parent / "first.log"
    with log.open("w") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "dvc", "repro"], cwd=project.path, env=environment(), stdout=stream, stderr=stream
        )
        deadline = time.monotonic() + 600
        while not _trains_on_subsets(process, project.path):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.01)
        dvc = psutil.Process(process.pid)
        for one in [dvc, *dvc.children(recursive=True)]:  # DVC first: it would write that its stage has ended
            one.send_signal(signal.SIGKILL)
        process.wait(60)
    return log.read_text()


def _trains_on_subsets(process: subprocess.Popen, root: Path) -> bool:
    if not any(path.stat().st_size for path in root.glob("artifacts/store/students/.*/resume.pt")):
        return False
    commands = [child.cmdline() for child in psutil.Process(process.pid).children(recursive=True)]
    return any("student" in command and "subset" in command for command in commands)
