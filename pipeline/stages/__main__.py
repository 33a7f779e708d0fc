"""The command line: `python -m pipeline.stages <command>`; every module is imported by the command that needs it."""

import importlib
import sys
from typing import Annotated, Literal

import typer

from pipeline.common.layout import Layout
from pipeline.params.file import load
from pipeline.runtime import launch
from pipeline.runtime.command_line import run_plainly
from pipeline.stages.run import run_stage

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
Seed = Annotated[int, typer.Option(help="which of params.yaml's seeds")]
Pool = Annotated[Literal["full", "subset"], typer.Option(help="full (all data) or subset")]
Group = Annotated[Literal["plain", "full", "subset"], typer.Option(help="plain (no teachers), full or subset")]
Port = Annotated[int, typer.Option(help="port on this machine", min=1, max=65535)]
WITHOUT_OPTIONS = {
    "check": "Check params.yaml and everything it names.",
    "code": "Write a fingerprint of the code behind each stage.",
    "prepare": "Decode and resize all images once.",
    "split": "Split by group, stratified.",
    "noise": "Make the labels that are trained on.",
    "subsets": "Choose the teachers' overlapping subsets.",
    "features": "Store what frozen backbones make of every view.",
    "external": "Decode the external test set, if there is one.",
    "evaluate": "Measure all networks on validation and test.",
    "robustness_compare": "Compare the attacked students.",
    "audit": "Rank the labels that teachers who never saw the sample doubt.",
    "export": "Export the served method's student to ONNX.",
    "report": "Write the table and the page.",
    "track": "Make the tracker agree with the artefacts and register the student.",
}


def _run(module: str, /, **arguments: object) -> None:
    run_stage(module, load(), Layout(), arguments)


def _add(name: str, meaning: str) -> None:
    app.command(name.replace("_", "-"), help=meaning)(lambda: _run(name))


@app.command()
def preset(
    name: Annotated[str | None, typer.Argument(help="a file of presets/, without .yaml")] = None,
    data: Annotated[str | None, typer.Option(help="folder of the data, becomes data.path")] = None,
    weights: Annotated[str | None, typer.Option(help="pretrained weights: a file, or a folder of files")] = None,
) -> None:
    """Lay a preset over params.yaml and check parameters and data."""
    importlib.import_module("pipeline.stages.preset").run(name, data, weights, Layout())


for one in WITHOUT_OPTIONS.items():
    _add(*one)


@app.command()
def teacher(seed: Seed, pool: Pool) -> None:
    """Train the teachers of a pool."""
    _run("teacher", seed=seed, pool=pool)


@app.command("soft-labels")
def soft_labels(seed: Seed, pool: Pool) -> None:
    """Let a pool's teachers answer every view once."""
    _run("soft_labels", seed=seed, pool=pool)


@app.command()
def student(seed: Seed, group: Group) -> None:
    """Train the students of one group."""
    _run("student", seed=seed, group=group)


@app.command()
def landscape(seed: Seed, method: Annotated[str, typer.Option(help="one of landscape.methods")]) -> None:
    """Compute the loss around one student's weights."""
    _run("landscape", seed=seed, method=method)


@app.command()
def robustness(seed: Seed, method: Annotated[str, typer.Option(help="one of robustness.methods")]) -> None:
    """Attack one student, and check whether the attacks can be trusted."""
    _run("robustness", seed=seed, method=method)


@app.command()
def shift(seed: Seed, method: Annotated[str, typer.Option(help="one of robustness.methods")]) -> None:
    """Try one student on corrupted images and on the external test set."""
    _run("shift", seed=seed, method=method)


@app.command("all")
def all_stages(
    start_at: Annotated[str | None, typer.Option(help="skip the stages before this one (their outputs exist)")] = None,
) -> None:
    """Run every stage in order, without DVC."""
    _run("all", start_at=start_at)


@app.command()
def join() -> None:
    """Take part, as a further machine, in the stages that the first machine's dvc repro runs under torchrun."""
    launch.join(load().machine.processes, Layout().launch)


@app.command()
def ui(port: Port = 5000) -> None:
    """Compare runs in MLflow's page."""
    from pipeline import tracking

    tracking.ui(port)


@app.command()
def serve(
    port: Port = 5000,
    model: Annotated[str | None, typer.Option(help="models:/name@alias or models:/name/version")] = None,
    host: Annotated[str, typer.Option(help="address to listen on; 0.0.0.0, for containers: all of them")] = "127.0.0.1",
) -> None:
    """Serve the registered champion over HTTP."""
    from pipeline.serving import server

    server.run(model, port, host)


def main() -> None:
    """Run a command; a user's mistake is printed without a traceback, with exit status 2."""
    run_plainly(app, _report)


def _report(message: str) -> None:
    """Print what is wrong; one of several processes leaves that to the launcher, which prints it once."""
    if launch.under_torchrun():
        launch.report_failure(message)
    else:
        print(f"error: {message}", file=sys.stderr)


if __name__ == "__main__":
    main()
