"""Run a server as a child: on a free port, and ended with all its processes when this one is asked to stop."""

import os
import signal
import socket
import subprocess
import threading
import time
from contextlib import suppress

from pipeline.common.errors import UserError

HOST = "127.0.0.1"
STOPS_WITHIN = 10
"""Seconds that requests under way have to end when the server is stopped."""
KILLED_AFTER = STOPS_WITHIN + 2
"""Seconds after which a server that was stopped, or a child that it left behind, is killed."""


def require_free_port(host: str, port: int) -> None:
    """Raise UserError if nothing can listen on `host`:`port`."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, OverflowError) as error:
            raise UserError(f"{host}:{port} cannot be used ({error}); try another one, e.g. PORT=5001") from error


def supervise(command: list[str], environment: dict[str, str]) -> int:
    """Run a server and its children until they end; return its exit status, 0 only where this process stopped it.

    A server that ends by itself has failed: where it says 0, as uvicorn does when its processes cannot start, 1 is
    returned.

    Ctrl-C and SIGTERM are passed on as SIGTERM, on which the server answers what it has begun; what has not ended
    after KILLED_AFTER seconds, such as a server that waits for the rest of a request, is killed.
    """
    # a separate session, so that Ctrl-C reaches the server once, through us, and all of its processes
    server = subprocess.Popen(command, env=environment, start_new_session=True)
    timers: list[threading.Timer] = []

    def stop(*_: object) -> None:
        _signal_group(server.pid, signal.SIGTERM)
        timers.append(threading.Timer(KILLED_AFTER, _signal_group, (server.pid, signal.SIGKILL)))
        timers[-1].start()

    previous = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        status = server.wait()
        _end_group(server.pid)
    finally:
        for timer in timers:
            timer.cancel()
        for number, handler in previous.items():
            signal.signal(number, handler)
    return 0 if timers else status or 1


def _end_group(group: int) -> None:
    """Wait until the server's own children are gone, too, so that the port is free again; kill what stays."""
    deadline = time.monotonic() + KILLED_AFTER
    while time.monotonic() < deadline + 1:  # where nobody collects what was killed, it stays as a zombie
        with suppress(ChildProcessError):
            os.waitpid(-group, os.WNOHANG)  # as the first process of a container they are ours to collect
        late = time.monotonic() > deadline
        if not _signal_group(group, signal.SIGKILL if late else 0):
            return
        time.sleep(0.05)


def _signal_group(group: int, number: int) -> bool:
    """Signal every process of a group; returns whether there is any. Signal 0 only looks."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    return True
