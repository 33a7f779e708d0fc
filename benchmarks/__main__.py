"""`make bench`: measure, print one table, keep the rows. It exits 0 whether or not targets are met."""

import sys
from collections.abc import Callable

from benchmarks import phantom_clean
from benchmarks.rows import Row, keep, table
from pipeline.params import Params, load

BENCHMARKS: dict[str, Callable[[Params], Row]] = {"phantom_clean": phantom_clean.measure}


def main(names: list[str]) -> int:
    """Run the named rows, or all."""
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        print(f"BENCH is {unknown[0]!r}; the rows are {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    params = load()
    rows = [BENCHMARKS[name](params) for name in names or BENCHMARKS]
    print(table(rows))
    print(f"kept in {keep(rows)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
