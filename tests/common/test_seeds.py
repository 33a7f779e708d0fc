"""Random streams: each has a name of its own, and no two of the default parameters draw the same numbers."""

import ast
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from pipeline.common.seeds import derive, stream
from pipeline.params.tree import flatten

SOURCES = sorted([*Path("models").rglob("*.py"), *Path("pipeline").rglob("*.py")])
SHARED = {"label noise": {"noise.py", "noise_instance.py"}}
"""Names that several modules draw from on purpose: one kind of noise at a time."""


@cache
def all_calls(path: Path) -> list[ast.Call]:
    tree = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return [node for node in tree if isinstance(node, ast.Call)]


def calls(path: Path, function: str) -> list[ast.Call]:
    return [one for one in all_calls(path) if getattr(one.func, "id", getattr(one.func, "attr", None)) == function]


def stream_names() -> dict[str, set[str]]:
    """Every literal name of a stream, and the modules that draw from it."""
    names: dict[str, set[str]] = {}
    for path in SOURCES:
        for call in calls(path, "stream"):
            if len(call.args) == 3 and isinstance(call.args[1], ast.Constant):
                names.setdefault(str(call.args[1].value), set()).add(path.name)
    return names


@pytest.mark.parametrize("function", ["default_rng", "Philox", "PCG64", "RandomState"])
def test_every_generator_is_a_named_stream(function):
    users = [str(path) for path in SOURCES if calls(path, function)]
    assert users == (["pipeline/common/seeds.py"] if function == "Philox" else [])


def test_no_two_modules_draw_from_one_stream_unless_they_mean_to():
    names = stream_names()
    assert {
        "splits",
        "subsets",
        "views",
        "teachers' views",
        "label noise",
        "batch order",
        "teacher weights",
        "bootstrap",
    } <= set(names)
    assert {name: users for name, users in names.items() if len(users) > 1} == SHARED


def test_no_two_streams_of_the_default_parameters_coincide(make_params):
    params = make_params()
    seeds = {value for name, value in flatten(params).items() if name.split(".")[-1] == "seed"} | set(params.seeds)
    keys = [(name, seed, counter) for name in stream_names() for seed in seeds for counter in range(3)]
    first = {key: tuple(stream(key[1], key[0], key[2]).random(4)) for key in keys}
    assert len(keys) > 20
    assert len(set(first.values())) == len(keys)


def test_a_stream_is_decided_by_seed_name_and_counter():
    assert np.array_equal(stream(3, "a", 5).random(8), stream(3, "a", 5).random(8))
    assert stream(3, "a", 5).random() not in {
        stream(3, "a", 6).random(), stream(4, "a", 5).random(), stream(3, "b", 5).random()
    }  # fmt: skip
    assert derive(3, "a") == 5059820419439873542
