"""Memory of running processes, read from /proc: what is theirs alone, not the pages of mapped files."""

import threading
from pathlib import Path
from types import TracebackType
from typing import Self

SAMPLED_EVERY = 0.05
"""Seconds between two looks at the memory."""


def anonymous(pid: int) -> int:
    """RssAnon of a process and its descendants in kB; pages that forked processes share count for each."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        children = [
            int(child) for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text().split()
        ]
    except (FileNotFoundError, ProcessLookupError):
        return 0
    own = next((int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon")), 0)
    return own + sum(anonymous(child) for child in children)


class PeakWatch:
    """Looks at a process and its descendants while the block runs; `peak` is the highest sum of RssAnon, in MiB."""

    def __init__(self, pid: int) -> None:
        self.peak = 0.0
        self._pid = pid
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def _watch(self) -> None:
        while not self._over.wait(SAMPLED_EVERY):
            self.peak = max(self.peak, anonymous(self._pid) / 1024)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
