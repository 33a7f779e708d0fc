"""Run one stage, in this process or, where `machine.launcher` says so, in several under torchrun."""

import importlib

from pipeline.common.layout import Layout
from pipeline.params.tree import Params
from pipeline.runtime.launch import torchrun, under_torchrun

SHARED = ("teacher", "soft_labels", "student")
"""Stages that several processes can share."""


def run_stage(module: str, params: Params, layout: Layout, arguments: dict[str, object]) -> None:
    """Run `pipeline.stages.<module>`; raises UserError where it, or one of its processes, fails."""
    if module in SHARED and params.machine.launcher == "torchrun" and not under_torchrun():
        command = [module.replace("_", "-"), *(f"--{key}={value}" for key, value in arguments.items())]
        torchrun(command, params.machine.processes, layout.launch)
        return
    importlib.import_module(f"pipeline.stages.{module}").run(params, layout, **arguments)
