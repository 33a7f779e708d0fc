"""`make bench`: measure, print one table, keep the rows. It exits 0 whether or not targets are met."""

import importlib
import sys

from benchmarks.rows import keep, table
from pipeline.params.file import load

BENCHMARKS = (
    "prepare",
    "prepare_scaling",
    "noise_gap",
    "kd_step",
    "kd_step_online",
    "rival_step",
    "students_stored",
    "smoothing",
    "data_path",
    "features",
    "study_peer",
    "ddp",
    "epoch_scaling",
    "onnx_speed",
    "serve",
)
"""What BENCH= takes, and all that runs without it: modules of this folder, imported when they run, since those that
fork should not load torch."""
ONLY_NAMED = ("overhead", "only_roskd", "study_workers", "default_seeds", "heads", "audit", "coverage", "abuse")
"""What runs only when BENCH= names it: `overhead` takes as long as a whole `make repro`, `only_roskd` longer,
`study_workers`, `heads` and `abuse` minutes, `default_seeds` longest; `audit` takes what `make repro` left here;
`coverage`, minutes of simulated tests, comes out the same on every machine."""


def main(names: list[str]) -> int:
    """Run the named benchmarks, or all of BENCHMARKS."""
    known = BENCHMARKS + ONLY_NAMED
    unknown = [name for name in names if name not in known]
    if unknown:
        print(f"BENCH is {unknown[0]!r}; the rows are {', '.join(known)}", file=sys.stderr)
        return 2
    params = load()
    rows, path = [], None
    for name in names or BENCHMARKS:
        print(f"bench: {name}", flush=True)
        measured = importlib.import_module(f"benchmarks.{name}").measure(params)
        path = keep(measured)
        rows += measured
    print(table(rows))
    print(f"kept in {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
