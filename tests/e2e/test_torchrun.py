"""The training stages in two processes, on one machine and on two: whole outputs, one message, nobody left behind."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest

from tests.e2e.project import Project, environment

pytestmark = pytest.mark.slow

STAGES = (sys.executable, "-m", "pipeline.stages")
PLAIN = (*STAGES, "student", "--group", "plain", "--seed", "0")
SOFT_LABELS = (*STAGES, "soft-labels", "--pool", "full", "--seed", "0")


@pytest.fixture
def project(finished, tmp_path) -> Project:
    """The finished project without its store, set to two processes."""
    project = finished[0].copy(tmp_path / "copy")
    project.change("launcher: python ", "launcher: torchrun ")
    project.change("processes: null ", "processes: 2 ")
    project.change("  enabled: true ", "  enabled: false ")
    project.run("rm", "-rf", str(project.path / "artifacts/store"))
    return project


def test_two_processes_train_a_student_and_answer_as_one_does(project):
    folder = project.path / "artifacts/students/0/plain/baseline_1"
    alone = pd.read_csv(folder / "history.csv")
    before = (folder / "last.safetensors").read_bytes()
    printed = project.run(*PLAIN)
    assert printed.count("2 of 2 epochs") == 1  # process 0 alone reports
    together = pd.read_csv(folder / "history.csv")
    assert together[["epoch", "split", "metric"]].equals(alone[["epoch", "split", "metric"]])
    assert (folder / "last.safetensors").read_bytes() != before  # statistics of half batches
    loss = [table.query("split == 'train' and metric == 'loss'")["value"] for table in (alone, together)]
    assert loss[1].to_numpy() == pytest.approx(loss[0].to_numpy(), rel=0.3)
    assert not list((project.path / "artifacts/store/students").glob(".*[!k]"))  # but for locks, nothing unfinished
    folder = project.path / "artifacts/soft_labels/0/full"
    answers = {path.name: np.load(path) for path in folder.glob("*.npy")}
    project.run("rm", "-rf", str(folder))
    project.run(*SOFT_LABELS)
    shared = {path.name: np.load(path) for path in folder.glob("*.npy")}
    assert shared.keys() == answers.keys()
    for name, logits in answers.items():
        assert shared[name].astype(float) == pytest.approx(logits.astype(float), abs=0.02), name


def test_a_mistake_is_printed_once(project):
    (project.path / "artifacts/splits/labels.csv").unlink()
    printed = project.run(*PLAIN, ok=False)
    assert printed.count("labels.csv: no such file") == 1
    assert "Traceback" not in printed


def test_nobody_listens_to_the_network_and_a_process_that_dies_ends_all_and_leaves_nothing_that_looks_finished(project):
    student = project.path / "artifacts/students/0/plain/baseline_1"
    project.run("rm", "-rf", str(student))
    project.change("epochs: 2 ", "epochs: 500 ")
    launcher = subprocess.Popen(
        PLAIN, cwd=project.path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    deadline = time.monotonic() + 300
    while not list(project.path.glob("artifacts/store/students/.*/resume.pt")):
        assert time.monotonic() < deadline, "no epoch within five minutes"
        assert launcher.poll() is None
        time.sleep(0.1)
    workers = [child for child in psutil.Process(launcher.pid).children() if "student" in child.cmdline()]
    assert len(workers) == 2
    every = [found for process in (psutil.Process(launcher.pid), *workers) for found in process.net_connections("inet")]
    listening = {found.laddr.ip for found in every if found.status == psutil.CONN_LISTEN}
    assert listening <= {"127.0.0.1", "::1"}
    workers[1].send_signal(signal.SIGKILL)
    printed, _ = launcher.communicate(timeout=120)
    assert launcher.returncode == 2
    assert "of the stage died of signal SIGKILL; the others were ended" in printed
    assert not any(worker.is_running() for worker in workers)
    assert not student.exists()


@pytest.fixture
def second_machine(project) -> Iterator[dict[str, str]]:
    """Another agent that joins; yields the environment that both machines have."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    shared = {"PET_NNODES": "2", "PET_RDZV_ENDPOINT": f"localhost:{port}"}
    with (project.path / "join.log").open("w") as log:
        agent = subprocess.Popen(
            [*STAGES, "join"], cwd=project.path, env=environment() | shared, stdout=log, stderr=log
        )
        yield shared
        agent.send_signal(signal.SIGTERM)
        agent.wait(60)


def test_a_second_machine_joins(project, second_machine):
    project.change("processes: 2 ", "processes: 1 ")
    folder = project.path / "artifacts/students/0/plain/baseline_1"
    before = (folder / "last.safetensors").read_bytes()
    printed = project.run(*PLAIN, **second_machine)
    assert printed.count("2 of 2 epochs") == 1
    assert (folder / "last.safetensors").read_bytes() != before
    joined = Path(project.path / "join.log").read_text()
    assert "join: student --seed=0 --group=plain" in joined
    assert "error" not in joined.lower()
    assert not (project.path / "artifacts/launch.json").exists()


def test_joining_without_the_addresses_is_an_error(project):
    printed = project.run(
        *STAGES, "join", ok=False, **{name: "1" for name in ("PET_NNODES",) if name not in os.environ}
    )
    assert "join: set PET_NNODES (number of machines, 2 or more) and PET_RDZV_ENDPOINT" in printed
