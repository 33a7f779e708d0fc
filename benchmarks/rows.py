"""One row of the table, and the file that keeps them."""

import json
import os
import platform
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from pipeline.common.files import write_json

RESULTS = Path(__file__).with_name("results")


@dataclass(frozen=True)
class Row:
    """A measured quantity: median of `n` values with its interval, and the target it is held against."""

    name: str
    median: float
    low: float
    high: float
    target: str
    met: bool
    n: int
    what: str


def ratio_interval(ratios: Sequence[float] | np.ndarray) -> tuple[float, float, float]:
    """Return the median and its bootstrap 95 % interval."""
    values = np.asarray(ratios, dtype=float)
    draws = np.random.default_rng(0).choice(values, (10_000, len(values)))
    low, high = np.quantile(np.median(draws, axis=1), [0.025, 0.975])
    return float(np.median(values)), float(low), float(high)


def at_most(name: str, ratios: Sequence[float] | np.ndarray, limit: float, what: str) -> Row:
    """A row whose median shall not exceed `limit`."""
    median, low, high = ratio_interval(ratios)
    return Row(name, median, low, high, f"<= {limit:g}", median <= limit, len(ratios), what)


def at_least(name: str, ratios: Sequence[float] | np.ndarray, limit: float, what: str) -> Row:
    """A row whose median shall reach `limit`."""
    median, low, high = ratio_interval(ratios)
    return Row(name, median, low, high, f">= {limit:g}", median >= limit, len(ratios), what)


def reported(name: str, ratios: Sequence[float] | np.ndarray, what: str) -> Row:
    """A row without a target."""
    median, low, high = ratio_interval(ratios)
    return Row(name, median, low, high, "report", True, len(ratios), what)


def machine() -> str:
    """A name for the kind of machine: processor, cores and GPU, never the host's name."""
    try:
        found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    except OSError:
        found = None
    processor = found.group(1) if found else platform.processor() or platform.machine()
    name = f"{processor}-{os.cpu_count()}-cores {_gpu() or ''}"
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _gpu() -> str | None:
    """The name of the first GPU; torch is loaded here alone, for the benchmarks that fork."""
    import torch

    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else None


def keep(rows: list[Row]) -> Path:
    """Put the rows into results/<machine>.json, in place of older ones of the same name."""
    path = RESULTS / f"{machine()}.json"
    old = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    fresh = {row.name: asdict(row) for row in rows}
    write_json(path, [fresh.pop(row["name"], row) for row in old] + list(fresh.values()))
    return path


def table(rows: list[Row]) -> str:
    """The rows as aligned text."""
    width = max([16, *(len(row.name) for row in rows)])
    lines = [f"{'row':<{width}}{'median':>9}{'low to high':>20}  {'target':<14}{'met':<5}{'n':>4}  what"]
    for row in rows:
        interval = f"[{row.low:.3f}, {row.high:.3f}]"
        met = "yes" if row.met else "no"
        lines.append(
            f"{row.name:<{width}}{row.median:>9.3f}{interval:>20}  {row.target:<14}{met:<5}{row.n:>4}  {row.what}"
        )
    return "\n".join(lines)
