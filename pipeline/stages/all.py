"""The whole pipeline in order, in one process and without DVC: for a bare GPU node."""

from collections.abc import Iterator
from itertools import product

from pipeline.common.errors import UserError
from pipeline.common.layout import POOLS, Layout
from pipeline.params.tree import Params
from pipeline.stages.run import run_stage

Call = tuple[str, str, dict[str, object]]
"""Stage name as in dvc.yaml, module of `pipeline.stages`, arguments beside the parameters."""


def calls(params: Params) -> Iterator[Call]:
    """Yield every stage in an order that respects dvc.yaml."""
    for name in ("check", "code", "prepare", "split", "noise", "subsets", "features", "external"):
        yield name, name, {}
    for seed in params.seeds:
        yield "student_plain", "student", {"seed": seed, "group": "plain"}
        for pool in POOLS:
            yield f"teacher_{pool}", "teacher", {"seed": seed, "pool": pool}
            yield f"soft_labels_{pool}", "soft_labels", {"seed": seed, "pool": pool}
            yield f"student_{pool}", "student", {"seed": seed, "group": pool}
    for name in ("evaluate", "audit"):
        yield name, name, {}
    for seed, method in product(params.seeds, params.landscape.methods):
        yield "landscape", "landscape", {"seed": seed, "method": method}
    for seed, method in product(params.seeds, params.robustness.methods):
        yield "shift", "shift", {"seed": seed, "method": method}
    for seed, method in product(params.seeds, params.robustness.methods):
        yield "robustness", "robustness", {"seed": seed, "method": method}
    for name in ("robustness_compare", "export", "report", "track"):
        yield name, name, {}


def run(params: Params, layout: Layout, start_at: str | None = None) -> None:
    """Run all stages, or those from the first one named `start_at` on. Raises UserError for an unknown name."""
    planned = list(calls(params))
    names = [name for name, _, _ in planned]
    if start_at is not None and start_at not in names:
        raise UserError(f"--start-at is {start_at!r}; the stages are {', '.join(dict.fromkeys(names))}")
    first = 0 if start_at is None else names.index(start_at)
    for name, module, arguments in planned[first:]:
        print(" ".join([f"[{name}]", *(f"{key}={value}" for key, value in arguments.items())]), flush=True)
        run_stage(module, params, layout, arguments)
