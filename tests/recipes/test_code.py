"""Fingerprints: what code computes with counts, what it says about itself does not."""

import pytest

from pipeline.common.layout import Layout
from pipeline.recipes import code
from pipeline.recipes.code import PLUMBING, closure, file_of, fingerprint
from pipeline.stages.code import FINGERPRINTED, run

FIRST = '''"""What it is for."""
import os  # a comment
from pipeline.other import double

LIMIT = 3
"""How many."""


def four(x):
    """Return four times x."""
    return double(double(x))
'''


@pytest.fixture
def house(tmp_path, monkeypatch):
    """A package of two modules and plumbing, in a folder of its own; returns a function that writes one of them."""
    monkeypatch.setattr(code, "ROOT", tmp_path)

    def write(name: str, text: str) -> None:
        path = tmp_path / "pipeline" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        for cached in (code.fingerprint, code.closure, code.imports, code._digest):
            cached.cache_clear()

    write("first.py", FIRST)
    write("other.py", "from pipeline.common.errors import UserError\ndef double(x): return 2 * x\n")
    write("common/errors.py", "class UserError(Exception): pass\n")
    yield write
    for cached in (code.fingerprint, code.closure, code.imports, code._digest):
        cached.cache_clear()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("What it is for.", "What else it is for."),
        ("# a comment", "# another"),
        ('"""How many."""', '"""As many."""'),
        ('    """Return four times x."""\n', ""),
        ("LIMIT = 3\n", "\n\nLIMIT  =  3\n"),
    ],
)
def test_docstrings_comments_and_layout_do_not_count(house, old, new):
    before = fingerprint("pipeline.first")
    house("first.py", FIRST.replace(old, new))
    assert fingerprint("pipeline.first") == before


def test_what_is_computed_counts_through_any_number_of_imports(house):
    before = fingerprint("pipeline.first")
    assert closure("pipeline.first") == {"pipeline.first", "pipeline.other"}
    house("first.py", FIRST.replace("LIMIT = 3", "LIMIT = 4"))
    changed = fingerprint("pipeline.first")
    house("first.py", FIRST)
    house("other.py", "def double(x): return 3 * x\n")
    assert len({before, changed, fingerprint("pipeline.first")}) == 3


def test_plumbing_does_not_count_and_files_beside_a_module_do(house):
    before = fingerprint("pipeline.first")
    house("common/errors.py", "class UserError(ValueError): pass\n")
    assert fingerprint("pipeline.first") == before
    house("page.html.j2", "<p>")
    assert fingerprint("pipeline.first") != before


def test_a_stage_counts_the_code_that_decides_its_result():
    teacher, student = closure("pipeline.recipes.teacher"), closure("pipeline.recipes.student")
    assert {
        "pipeline.training.loop",
        "pipeline.data.views",
        "models.networks",
        "pipeline.evaluation.metrics",
    } <= teacher
    assert "pipeline.distillation.smoothing" in student
    assert "pipeline.distillation.soft_labels" in student - teacher
    assert not any("report" in name or "tracking" in name or "study" in name for name in teacher | student)


def test_every_name_of_plumbing_is_there():
    assert [name for name in PLUMBING if file_of(name) is None] == []


def test_the_stage_writes_a_file_for_each_stage_and_the_same_one_each_time(make_params, tmp_path):
    params, layout = make_params(), Layout(tmp_path)
    run(params, layout)
    first = {path.name: path.read_text() for path in layout.code.iterdir()}
    run(params, layout)
    assert {path.name: path.read_text() for path in layout.code.iterdir()} == first
    assert sorted(first) == sorted(f"{name}.txt" for name in FINGERPRINTED)
    assert all(len(text.strip()) == 64 for text in first.values())
    assert len(set(first.values())) == len(first)
