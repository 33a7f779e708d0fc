"""Run a server as a child: on a free port, and ended with all its processes when this one is asked to stop."""

import os
import signal
import socket
import subprocess
import time
from contextlib import suppress

from pipeline.common.errors import UserError

HOST = "127.0.0.1"
STOPS_WITHIN = 10
"""Seconds that requests under way have to end when the server is stopped."""


def require_free_port(host: str, port: int) -> None:
    """Raise UserError if nothing can listen on `host`:`port`."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, OverflowError) as error:
            raise UserError(f"{host}:{port} cannot be used ({error}); try another one, e.g. PORT=5001") from error


def supervise(command: list[str], environment: dict[str, str]) -> int:
    """Run a server and its children until they end; return its exit status, 0 where this process was asked to stop it.

    Ctrl-C and SIGTERM are passed on as SIGTERM, on which the server answers what it has begun.
    """
    # a separate session, so that Ctrl-C reaches the server once, through us, and all of its processes
    server = subprocess.Popen(command, env=environment, start_new_session=True)
    stopped = False

    def stop(*_: object) -> None:
        nonlocal stopped
        stopped = True
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)

    previous = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        status = server.wait()
        _wait_for_group(server.pid)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    return 0 if stopped else status


def _wait_for_group(group: int) -> None:
    """Wait until the server's own children are gone, too, so that the port is free again."""
    deadline = time.monotonic() + STOPS_WITHIN
    while time.monotonic() < deadline:
        with suppress(ChildProcessError):
            os.waitpid(-group, os.WNOHANG)  # as the first process of a container they are ours to collect
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
