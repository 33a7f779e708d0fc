"""What is already prepared: one line of JSON for each finished chunk of images, appended as they finish."""

import io
import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Chunk:
    """The images `first`, `first + 1`, … of one finished chunk; every member has one entry for each.

    `hashes`: of the pixels written, empty where the image could not be read. `sizes`: height and width before the
    resize. `states`: a hash of the files' names, sizes and times when they were read. `bad`: {image: reason}.
    """

    first: int
    hashes: list[str]
    sizes: list[tuple[int, int]]
    states: str
    bad: dict[int, str]

    def __len__(self) -> int:
        return len(self.hashes)


class Journal:
    """An append-only file of chunks; a kill leaves at most its last line torn."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stream: io.FileIO | None = None

    def read(self) -> dict[int, Chunk]:
        """Return {first image: chunk} and cut off everything from the first torn line on; a later line wins."""
        if not self.path.exists():
            return {}
        found: dict[int, Chunk] = {}
        good = 0
        content = self.path.read_bytes()
        for line in content.splitlines(keepends=True):
            try:
                chunk = _parse(line)
            except (ValueError, KeyError, TypeError, AttributeError):
                break
            found[chunk.first] = chunk
            good += len(line)
        if good < len(content):
            with self.path.open("r+b") as stream:
                stream.truncate(good)
        return found

    def append(self, chunk: Chunk) -> None:
        """Add a finished chunk; a kill of this process, not of the machine, keeps it."""
        self._stream = self._stream or self.path.open("ab", buffering=0)
        self._stream.write(json.dumps(vars(chunk)).encode() + b"\n")

    def close(self) -> None:
        """Close the file."""
        if self._stream is not None:
            self._stream.close()


def _parse(line: bytes) -> Chunk:
    if not line.endswith(b"\n"):
        raise ValueError("torn")
    entry = json.loads(line)
    return Chunk(
        first=int(entry["first"]),
        hashes=[str(value) for value in entry["hashes"]],
        sizes=[(int(height), int(width)) for height, width in entry["sizes"]],
        states=str(entry["states"]),
        bad={int(image): str(reason) for image, reason in entry["bad"].items()},
    )
