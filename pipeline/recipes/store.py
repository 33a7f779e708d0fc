"""What studies share: results kept under the hash of everything that decides them, each made once.

A folder `<kind>/<hash>` appears whole or not at all. Whoever makes one holds a lock that ends with its process, however
that dies; the unfinished folder stays, and the next maker goes on in it.
"""

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.common import layout as artifacts
from pipeline.common.files import locked, sha256_json, write_json

POLL = 0.5
"""Seconds between looks for what another worker makes."""
MADE_FROM = "made_from.json"


@dataclass(frozen=True)
class Node:
    """One result: its kind, the JSON-able tree that decides it, and `make(folder)`, which writes it."""

    kind: str
    decides: dict[str, Any]
    make: Callable[[Path], None]

    @property
    def key(self) -> str:
        """The hash of everything that decides the result."""
        return sha256_json(self.decides)[:24]


class Store:
    """The folder of all results, shared by the workers of a machine, or of several with a common disk."""

    def __init__(self, root: Path = artifacts.STORE) -> None:
        self._root = root

    def get(self, nodes: Sequence[Node]) -> list[Path]:
        """Return the folders of `nodes`, made where they are missing.

        What another worker is making is left to it: this one goes on with the rest, and waits at the end.
        """
        missing = [node for node in nodes if not self.path(node).is_dir()]
        while missing:
            begun = [node for node in missing if self._try(node)]
            missing = [node for node in missing if not self.path(node).is_dir()]
            if missing and not begun:
                time.sleep(POLL)
        return [self.path(node) for node in nodes]

    def path(self, node: Node) -> Path:
        """Where the result lies once it is whole."""
        return self._root / node.kind / node.key

    def _try(self, node: Node) -> bool:
        """Make one result unless another worker does; returns whether this one did."""
        path = self.path(node)
        unfinished = path.with_name(f".{path.name}")
        unfinished.parent.mkdir(parents=True, exist_ok=True)
        with locked(path.with_name(f".{path.name}.lock"), wait=False) as held:
            if not held:
                return False
            if not path.is_dir():
                started = time.monotonic()
                unfinished.mkdir(exist_ok=True)
                try:
                    node.make(unfinished)
                except Exception:  # an interrupt leaves the folder to the next maker, a failure would only recur
                    shutil.rmtree(unfinished)
                    raise
                seconds = round(time.monotonic() - started, 3)
                write_json(unfinished / MADE_FROM, {"seconds": seconds, "decided by": node.decides})
                unfinished.replace(path)
        return True
