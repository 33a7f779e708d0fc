"""What laying values over params.yaml is told to change."""

from pathlib import Path

from pipeline.params.file import read_yaml, validate
from pipeline.params.overlay import changes
from pipeline.params.tree import Params


def params(**sections: dict) -> Params:
    tree = read_yaml(Path("params.yaml"))
    for name, values in sections.items():
        tree[name] |= values
    return validate(tree, "test")


def test_each_parameter_that_differs_is_told_with_both_values():
    told = changes(params(), params(noise={"rate": 0.1, "seed": 3}))
    assert told == ["  noise.rate: 0.3 -> 0.1", "  noise.seed: 0 -> 3"]


def test_a_table_is_told_by_its_entries():
    mine = {"mine": {"methods": ["roskd"], "vary": [{"noise.rate": [0.1]}]}}
    (told,) = changes(params(), params(study={"grids": params().model_dump(mode="json")["study"]["grids"] | mine}))
    assert told == "  study.grids.mine: nothing -> {'methods': ['roskd'], 'vary': [{'noise.rate': [0.1]}]}"
