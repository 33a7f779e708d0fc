"""A study's workers: how they are started, and a Ctrl-C while they start."""

import signal

import pytest

from pipeline.study import run as study_run


class Worker:
    """A process that was started while Ctrl-C came, and ends when it is waited for."""

    started: list["Worker"]
    returncode = study_run.INTERRUPTED

    def __init__(self, command: list[str], env: dict[str, str]) -> None:
        self.blocked, self.waited = signal.pthread_sigmask(signal.SIG_BLOCK, []), False
        Worker.started.append(self)
        signal.raise_signal(signal.SIGINT)

    def wait(self) -> int:
        self.waited = True
        return self.returncode


@pytest.fixture
def ctrl_c_heard():
    heard = signal.signal(signal.SIGINT, signal.default_int_handler)  # under nohup or `&` the shell ignores Ctrl-C
    yield
    signal.signal(signal.SIGINT, heard)


@pytest.mark.usefixtures("ctrl_c_heard")
def test_an_interrupt_while_workers_start_waits_for_all_of_them(monkeypatch):
    Worker.started = []
    monkeypatch.setattr(study_run.subprocess, "Popen", Worker)
    assert study_run._run_workers("mine", 2) is False
    assert [signal.SIGINT in worker.blocked for worker in Worker.started] == [True, True]
    assert all(worker.waited for worker in Worker.started)
