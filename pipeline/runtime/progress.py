"""What long work shows while it runs: a bar on a terminal, plain lines elsewhere."""

import sys
import time
from typing import Self

from tqdm import tqdm

PLAIN_LINE_EVERY = 10.0
"""Seconds between plain lines."""


class Progress:
    """Counts work done; the bar appears with the first of it, since its thread must not be there when workers fork."""

    def __init__(self, title: str, total: int, unit: str) -> None:
        self._title, self._total, self._unit, self._done = title, total, unit, 0
        self._started = self._last = time.monotonic()
        self._bar: tqdm | None = None

    def advance(self, done: int, note: str = "", *, always: bool = False) -> None:
        """Count `done` more; `note` is shown beside the count. `always` prints a plain line however soon it comes."""
        self._done += done
        now = time.monotonic()
        if sys.stderr.isatty():
            self._bar = self._bar or tqdm(total=self._total, desc=self._title, unit=self._unit)
            self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(done)
        elif always or now - self._last > PLAIN_LINE_EVERY:
            counted = f"{self._done:,} of {self._total:,} {self._unit}s"
            print(
                ", ".join(filter(None, [f"{self._title}: {counted}", note, f"{now - self._started:.0f} s"])), flush=True
            )
            self._last = now

    def close(self) -> None:
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Epochs(Progress):
    """The epochs of one training."""

    def __init__(self, title: str, epochs: int, primary: str) -> None:
        super().__init__(title, epochs, "epoch")
        self._primary = primary

    def report(self, epoch: int, metrics: dict[str, float]) -> None:
        """Report the end of epoch `epoch` (from 1), which may be further than the next."""
        figures = f"loss {metrics['train/loss']:.3f}, val {self._primary} {metrics[f'val/{self._primary}']:.3f}"
        self.advance(epoch - self._done, figures, always=epoch == self._total)
