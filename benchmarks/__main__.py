"""`make bench`: measure, print one table, keep the rows. It exits 0 whether or not targets are met."""

import importlib
import sys

from benchmarks.rows import keep, table
from pipeline.params import load

BENCHMARKS = ("prepare", "prepare_scaling", "phantom_clean")
"""What BENCH= takes: modules of this folder, imported when they run, since those that fork should not load torch."""


def main(names: list[str]) -> int:
    """Run the named benchmarks, or all."""
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        print(f"BENCH is {unknown[0]!r}; the rows are {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    params = load()
    rows = [
        row for name in names or BENCHMARKS for row in importlib.import_module(f"benchmarks.{name}").measure(params)
    ]
    print(table(rows))
    print(f"kept in {keep(rows)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
