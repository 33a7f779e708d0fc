"""What a training says while it runs: a bar on a terminal, plain lines elsewhere."""

import sys
import time

from tqdm import tqdm

PLAIN_LINE_EVERY = 10.0
"""Seconds between plain lines."""


class Progress:
    """Reports epochs of one training; `on_epoch` fits training.loop.Plan."""

    def __init__(self, title: str, epochs: int, primary: str) -> None:
        self._title, self._epochs, self._primary = title, epochs, primary
        self._started = self._last = time.monotonic()
        self._bar = tqdm(total=epochs, desc=title, unit="epoch", leave=True) if sys.stderr.isatty() else None

    def on_epoch(self, epoch: int, metrics: dict[str, float]) -> None:
        """Report the end of epoch `epoch` (from 1)."""
        figures = f"loss {metrics['train/loss']:.3f}, val {self._primary} {metrics[f'val/{self._primary}']:.3f}"
        now = time.monotonic()
        if self._bar is not None:
            self._bar.set_postfix_str(figures, refresh=False)
            self._bar.update(epoch - self._bar.n)
        elif epoch == self._epochs or now - self._last > PLAIN_LINE_EVERY:
            print(f"{self._title}: epoch {epoch}/{self._epochs}, {figures}, {now - self._started:.0f} s", flush=True)
            self._last = now
        if epoch == self._epochs and self._bar is not None:
            self._bar.close()
