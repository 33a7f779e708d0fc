"""A source whose image i is all i, for tests of the machinery round the decoding; runs as a program to be killed."""

import os
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from models.pixels import ImageError
from pipeline.data.array import decode_images
from pipeline.data.sources import Source

SIZE = 4


@dataclass(frozen=True)
class Numbered:
    """A reader that notes in `log` which images it was asked for, and by which process."""

    log: Path
    bad: dict[int, str] = field(default_factory=dict)
    delay: float = 0.0
    kills_at: int | None = None

    def __call__(self, i: int) -> np.ndarray:
        with self.log.open("a") as stream:
            stream.write(f"{i} {os.getpid()}\n")
        time.sleep(self.delay)
        if i == self.kills_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if i in self.bad:
            raise ImageError(self.bad[i])
        return np.full((SIZE, SIZE, 1), i % 251, np.uint8)

    def asked(self) -> list[int]:
        """The images asked for so far, sorted."""
        return sorted(int(line.split()[0]) for line in self._lines())

    def processes(self) -> set[int]:
        """The processes that asked."""
        return {int(line.split()[1]) for line in self._lines()}

    def _lines(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []


def source_of(reader: object, images: int) -> Source:
    """A source of `images` samples s0, s1, …, each a group of its own, that all show class A."""
    names = [f"s{i}" for i in range(images)]
    samples = pd.DataFrame({"sample_id": names, "group_id": names, "label": "A"})
    return Source(samples, ("A",), 1, lambda scratch: reader)  # type: ignore[arg-type, return-value]


if __name__ == "__main__":
    reader = Numbered(Path(sys.argv[2]), delay=0.004)
    decode_images(source_of(reader, int(sys.argv[3])), Path(sys.argv[1]), SIZE, workers=2)
