"""The command line: `python -m pipeline.registry list|promote|rollback`, for the versions of the registered model."""

from typing import Annotated

import typer

from pipeline import tracking
from pipeline.params.file import load
from pipeline.runtime.command_line import run_plainly

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
Model = Annotated[str | None, typer.Option(help="registered model; by default roskd-<data.source> of params.yaml")]
Version = Annotated[str, typer.Argument(help="a version's number or an alias, such as challenger")]
Why = Annotated[str, typer.Option(help="the reason, for the version's tags and description")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="only say what would change")]


@app.command("list")
def list_versions(model: Model = None) -> None:
    """List the versions, the newest first, with aliases, figures on validation, and why each is champion or not."""
    print(tracking.table(tracking.listed(_named(model))))


@app.command()
def promote(version: Version, model: Model = None, why: Why = "", dry_run: DryRun = False) -> None:
    """Make a version the champion, whatever its figures."""
    print(tracking.promote(_named(model), version, why, dry_run=dry_run))


@app.command()
def rollback(model: Model = None, why: Why = "", dry_run: DryRun = False) -> None:
    """Make the champion before the present one champion again; again and again back to the first."""
    print(tracking.rollback(_named(model), why, dry_run=dry_run))


def _named(model: str | None) -> str:
    return model or tracking.model_name(load())


if __name__ == "__main__":
    run_plainly(app)
