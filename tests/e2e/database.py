"""A PostgreSQL server for one test, where Debian's package is installed."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

USER = "postgres"


def programs() -> Path:
    """The folder of initdb and pg_ctl; skips the test where there is none, which under CI is a failure."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        reason = "PostgreSQL is not installed (Debian: apt-get install postgresql)"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found[-1].parent


@contextmanager
def postgres() -> Iterator[str]:
    """Run a server in a folder of its own, which pytest's would hide from its user; yields an empty database's URL."""
    found = programs()
    with tempfile.TemporaryDirectory(prefix="roskd-postgres-") as name:
        yield from _serve(found, Path(name))


def _serve(found: Path, folder: Path) -> Iterator[str]:
    as_user: list[str] = []
    if os.geteuid() == 0:  # initdb refuses root
        shutil.chown(folder, USER, pwd.getpwnam(USER).pw_gid)
        as_user = ["runuser", "-u", USER, "--"]
    data, port = folder / "data", _free_port()
    options = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories={folder}"

    def do(program: str, *arguments: str) -> None:
        command = [*as_user, str(found / program), *arguments]
        subprocess.run(command, check=True, cwd="/", stdout=subprocess.DEVNULL, timeout=120)

    do("initdb", "-D", str(data), "-A", "trust", "-U", USER)
    do("pg_ctl", "-D", str(data), "-l", str(folder / "log"), "-o", options, "-w", "start")
    try:
        do("createdb", "-h", "127.0.0.1", "-p", str(port), "-U", USER, "optuna")
        yield f"postgresql://{USER}@127.0.0.1:{port}/optuna"
    finally:
        do("pg_ctl", "-D", str(data), "-m", "immediate", "stop")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
