"""The command line: `python -m pipeline.study run NAME`; a grid of params.yaml where NAME is one, else a search."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from pipeline.common.layout import Layout
from pipeline.params.file import load
from pipeline.runtime.command_line import run_plainly

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
Name = Annotated[str, typer.Argument(help="a grid of study.grids in params.yaml, or any other name: a search")]
Workers = Annotated[int, typer.Option(help="processes at once, which share the processor's cores", min=1)]


Again = Annotated[bool, typer.Option("--again", help="try again what failed, such as a training that diverged")]


@app.command()
def run(name: Name, workers: Workers = 1, again: Again = False) -> None:
    """Begin a study or continue it, and report what it found."""
    from pipeline.study.run import run as run_study

    with _plain_storage_errors():
        sys.exit(run_study(load(), Layout(), name, workers, again=again))


@app.command()
def worker(name: Name) -> None:
    """Help with a study that has been begun, on this machine or another; any number may."""
    from pipeline.study.run import work

    with _plain_storage_errors():
        work(load(), Layout(), name)


@app.command()
def report(name: Name) -> None:
    """Write the tables, pictures and page of a study again, from what it has finished."""
    from pipeline.study.page import finish

    with _plain_storage_errors():
        finish(load(), Layout(), name)


@app.command()
def apply(name: Name) -> None:
    """Write the best trial's parameters into params.yaml, comments kept."""
    from pipeline.study.apply import apply_best

    with _plain_storage_errors():
        apply_best(load(), Layout(), name)


@contextmanager
def _plain_storage_errors() -> Iterator[None]:
    from pipeline.study.trials import plain_storage_errors  # Optuna is slow to import, and --help needs none of it

    with plain_storage_errors():
        yield


if __name__ == "__main__":
    run_plainly(app)
