"""How a server that runs as a child is stopped."""

import fcntl
import os
import signal
import sys
import threading
import time

import pytest

from pipeline.runtime import children
from pipeline.runtime.children import supervise


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_server_and_its_children(number, tmp_path):
    """The server has a child of its own, as MLflow's has, which holds a lock while it lives."""
    lock = tmp_path / "lock"
    child = (
        "import fcntl, time\n"
        f"stream = open({str(lock)!r}, 'w')\n"
        "fcntl.flock(stream, fcntl.LOCK_EX)\n"
        "print('held', file=stream, flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-S', '-c', {child!r}])"

    def interrupt():
        while not (lock.exists() and lock.read_text()):
            time.sleep(0.05)
        os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    thread = threading.Thread(target=interrupt)
    thread.start()
    assert supervise([sys.executable, "-S", "-c", parent], dict(os.environ)) == 0
    thread.join()
    assert signal.getsignal(number) is before
    with lock.open() as stream:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize("own", ["server", "child"])
def test_what_does_not_end_when_it_is_stopped_is_killed(own, tmp_path, monkeypatch):
    """A server that waits for the rest of a request, or a child that it left behind, holds a lock while it lives."""
    monkeypatch.setattr(children, "KILLED_AFTER", 1)
    lock = tmp_path / "lock"
    stubborn = (
        "import fcntl, signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"stream = open({str(lock)!r}, 'w')\n"
        "fcntl.flock(stream, fcntl.LOCK_EX)\n"
        "print('held', file=stream, flush=True)\n"
        "time.sleep(60)\n"
    )
    leaving = (
        f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-S', '-c', {stubborn!r}]); time.sleep(60)"
    )

    def interrupt():
        while not (lock.exists() and lock.read_text()):
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=interrupt)
    thread.start()
    program = stubborn if own == "server" else leaving
    assert supervise([sys.executable, "-S", "-c", program], dict(os.environ)) == 0
    thread.join()
    with lock.open() as stream:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize(("status", "expected"), [(3, 3), (0, 1)])
def test_a_server_that_ends_by_itself_has_failed(status, expected):
    assert supervise([sys.executable, "-S", "-c", f"raise SystemExit({status})"], dict(os.environ)) == expected
