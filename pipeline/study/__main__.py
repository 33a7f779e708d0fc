"""The command line: `python -m pipeline.study run NAME`; a grid of params.yaml where NAME is one, else a search."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from pipeline.params.file import load
from pipeline.runtime.command_line import run_plainly

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
Name = Annotated[str, typer.Argument(help="a grid of study.grids in params.yaml, or any other name: a search")]
Workers = Annotated[int, typer.Option(help="processes at once, which share the processor's cores", min=1)]


Again = Annotated[bool, typer.Option("--again", help="begin anew what failed, as a diverged training")]


@app.command()
def run(name: Name, workers: Workers = 1, again: Again = False) -> None:
    """Begin a study or go on with it, and report what it found."""
    from pipeline.study.run import run as run_study

    with _storage_errors_told():
        sys.exit(run_study(load(), name, workers, again=again))


@app.command()
def worker(name: Name) -> None:
    """Help with a study that has been begun; any number, on every machine that reaches its storage."""
    from pipeline.study.run import work

    with _storage_errors_told():
        work(load(), name)


@app.command()
def report(
    name: Name,
    wall: Annotated[float | None, typer.Option(hidden=True)] = None,
    workers: Annotated[int, typer.Option(hidden=True)] = 1,
) -> None:
    """Write the tables, pictures and page of a study anew, from what it has finished."""
    from pipeline.study.page import finish

    with _storage_errors_told():
        finish(load(), name, wall, workers)


@app.command()
def apply(name: Name) -> None:
    """Write the best trial's parameters into params.yaml, comments kept."""
    from pipeline.study.apply import apply_best

    with _storage_errors_told():
        apply_best(load(), name)


@contextmanager
def _storage_errors_told() -> Iterator[None]:
    from pipeline.study.storage import storage_errors_told  # Optuna is slow to import, and --help needs none of it

    with storage_errors_told():
        yield


if __name__ == "__main__":
    run_plainly(app)
