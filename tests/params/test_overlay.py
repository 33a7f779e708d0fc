"""What laying values over params.yaml is reported to change."""

from pathlib import Path

import pytest

from pipeline.common.errors import UserError
from pipeline.params.overlay import changes, overlaid


def test_each_parameter_that_differs_is_reported_with_both_values(make_params):
    lines = changes(make_params(), make_params(noise={"rate": 0.1, "seed": 3}))
    assert lines == ["  noise.rate: 0.4 -> 0.1", "  noise.seed: 0 -> 3"]


def test_a_table_is_reported_by_its_entries(make_params):
    whole = make_params()
    grids = whole.model_dump(mode="json")["study"]["grids"]
    mine = {"mine": {"methods": ["roskd"], "vary": [{"noise.rate": [0.1]}]}}
    (line,) = changes(whole, make_params(study={"grids": grids | mine}))
    assert line == "  study.grids.mine: nothing -> {'methods': ['roskd'], 'vary': [{'noise.rate': [0.1]}]}"


def test_comments_and_all_other_lines_stay():
    text, params = overlaid(Path("params.yaml"), {"methods": ["roskd"], "machine": {"workers": 3}}, "preset mine")
    before, after = Path("params.yaml").read_text().splitlines(), text.splitlines()
    assert (params.methods, params.machine.workers) == (("roskd",), 3)
    assert len(after) == len(before)
    differing = [new.split("#")[0].strip() for old, new in zip(before, after, strict=True) if old != new]
    assert differing == ["workers: 3", "methods: [roskd]"]
    assert "# processes that decode images" in text


def test_a_mistake_names_file_and_overlay():
    with pytest.raises(UserError, match=r"params\.yaml with preset mine: noise\.rate is 2\.0"):
        overlaid(Path("params.yaml"), {"noise": {"rate": 2.0}}, "preset mine")
