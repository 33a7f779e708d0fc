"""What preparing says while it runs: a bar on a terminal, plain lines elsewhere."""

import sys
import time

from tqdm import tqdm

PLAIN_LINE_EVERY = 10.0
"""Seconds between plain lines."""


class Progress:
    """Counts images; the bar appears with the first ones, since its thread must not be there when workers fork."""

    def __init__(self, title: str, total: int) -> None:
        self._title, self._total, self._done = title, total, 0
        self._started = self._last = time.monotonic()
        self._bar: tqdm | None = None

    def advance(self, images: int) -> None:
        """Count `images` more."""
        self._done += images
        now = time.monotonic()
        if sys.stderr.isatty():
            self._bar = self._bar or tqdm(total=self._total, desc=self._title, unit="image")
            self._bar.update(images)
        elif now - self._last > PLAIN_LINE_EVERY:
            took = now - self._started
            print(f"{self._title}: {self._done:,} of {self._total:,} images, {took:.0f} s", flush=True)
            self._last = now

    def close(self) -> None:
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.close()
