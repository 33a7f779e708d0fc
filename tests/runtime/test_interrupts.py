"""Ctrl-C at awkward moments: where Python drops exceptions, and while a worker loads its modules."""

import signal
import subprocess
import sys
from textwrap import dedent

from pipeline.runtime.interrupts import interrupts_wait_in_children

LOST = """
    import signal, time, weakref
    {before}

    class Referent:
        pass

    def dropped(_):
        {happens}

    def app():
        referent = Referent()
        watched = weakref.ref(referent, dropped)
        del referent
        {waits}
        print("never ended")

    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        {call}
    except KeyboardInterrupt:
        print("interrupted")
"""
CTRL_C = "signal.raise_signal(signal.SIGINT)"
PLAINLY = {"before": "from pipeline.runtime.command_line import run_plainly", "call": "run_plainly(app)"}
BUSY = "begun = time.monotonic()\n        while time.monotonic() < begun + 10: pass"


def run(**parts: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", dedent(LOST.format(**parts))], capture_output=True, text=True, check=True
    )


def test_python_alone_drops_it():
    ended = run(before="", call="app()", happens=CTRL_C, waits="pass")
    assert ended.stdout == "never ended\n"
    assert "Exception ignored in" in ended.stderr


def test_a_busy_command_hears_it():
    ended = run(happens=CTRL_C, waits=BUSY, **PLAINLY)
    assert (ended.stdout, ended.stderr) == ("interrupted\n", "")


def test_a_waiting_command_hears_it():
    ended = run(happens=CTRL_C, waits="time.sleep(10)", **PLAINLY)
    assert (ended.stdout, ended.stderr) == ("interrupted\n", "")


def test_what_else_is_dropped_is_printed_as_before():
    ended = run(happens="1 / 0", waits="pass", **PLAINLY)
    assert ended.stdout == "never ended\n"
    assert "ZeroDivisionError" in ended.stderr


LOADS = """
    import os, signal, time
    signal.signal(signal.SIGINT, signal.default_int_handler)  # under nohup or `&` the shell ignores Ctrl-C
    os.kill(os.getpid(), signal.SIGINT)
    from pipeline.runtime.interrupts import let_interrupts_in
    print("loaded")
    try:
        let_interrupts_in()
        time.sleep(10)
    except KeyboardInterrupt:
        print("interrupted")
"""


def test_an_interrupt_waits_until_a_worker_has_loaded():
    command = [sys.executable, "-c", dedent(LOADS)]
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    with interrupts_wait_in_children():
        started = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before
    assert started.communicate() == ("loaded\ninterrupted\n", "")
