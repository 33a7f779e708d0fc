"""What a study may be, what is refused, and in which words."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.common.errors import UserError
from pipeline.params.file import read_yaml, validate, with_values
from pipeline.params.overlay import merge
from pipeline.params.tree import Params
from pipeline.study.plan import Plan, Unit, described, finished_cells, is_whole, make_plan

TREE = read_yaml(Path("params.yaml"))
DIGEST = "0" * 64


def params(seeds: tuple[int, ...] = (0,), **study: Any) -> Params:
    return validate(TREE | {"seeds": list(seeds), "study": TREE["study"] | study}, "params.yaml")


def test_a_search_begins_with_the_parameters_of_the_file_and_leaves_the_rest_to_the_sampler():
    plan = make_plan("mine", params(trials=3), DIGEST)
    assert [unit.values for unit in plan.units] == [
        {
            "distillation.tau": 4.0,
            "distillation.alpha": 0.9,
            "distillation.weighting.concentration": 1.0,
            "subsets.overlap": 0.4,
        },
        {},
        {},
    ]
    assert (plan.is_grid, plan.metric, plan.runs) == (False, "f1_macro", ["baseline_5"])
    outside = make_plan("mine", params(trials=2, space={"distillation.tau": {"low": 1.0, "high": 2.0}}), DIGEST)
    assert [unit.values for unit in outside.units] == [{}, {}]


def test_a_grid_is_every_combination_with_every_seed():
    grid = {
        "methods": ["roskd", "baseline_5", "baseline_3"],
        "vary": [{"subsets.overlap": [0.0, 1.0]}, {"noise.rate": [0.1]}],
    }
    plan = make_plan("mine", params((3, 4), grids={"mine": grid}), DIGEST)
    assert [(unit.values, unit.seed) for unit in plan.units] == [
        ({"subsets.overlap": 0.0}, 3),
        ({"subsets.overlap": 0.0}, 4),
        ({"subsets.overlap": 1.0}, 3),
        ({"subsets.overlap": 1.0}, 4),
        ({"noise.rate": 0.1}, 3),
        ({"noise.rate": 0.1}, 4),
    ]
    assert plan.runs == ["baseline_3", "baseline_5"]  # RoS-KD is the smoothed student of baseline_5


def test_a_cell_is_finished_where_every_seed_is():
    grid = {"methods": ["roskd"], "vary": [{"noise.rate": [0.0, 0.1, 0.2]}]}
    plan = make_plan("mine", params((3, 4), grids={"mine": grid}), DIGEST)
    assert finished_cells(plan, {0, 1, 2, 4, 5}) == [{"noise.rate": 0.0}, {"noise.rate": 0.2}]
    assert finished_cells(plan, set()) == []


OF_HEADS = ("features", "cross", "memorise")
"""Grids with probes, which answer from stored features."""


@pytest.mark.parametrize("name", sorted(TREE["study"]["grids"]))
def test_the_grids_of_the_repository_hold_what_they_promise(name):
    heads = {"student.train": "head", "student.weights": "weights", "student.width": 1.0}
    plan = make_plan(name, with_values(params(), heads, "heads") if name in OF_HEADS else params(), DIGEST)
    cells = {
        "methods": 1,
        "folds": 3,
        "overlap": 12,
        "student": 5,
        "ingredients": 1,
        "beyond": 9,
        "rivals": 2,
        "fair": 6,
        "features": 6,
        "cross": 24,
        "memorise": 4,
        "weighting": 12,
        "noise": 16,
        "teachers": 5,
    }
    assert len(plan.units) == cells[name]
    assert {"roskd", "roskd_cross"} & set(plan.methods)


@pytest.mark.parametrize(
    ("preset", "missing"),
    [
        ("blood-cells-features", set()),
        ("lesion-features", set()),
        ("own-images-features", {"balance", "found", "losses", "picked"}),
    ],
)
def test_the_grids_of_further_evidence_can_be_laid_over_every_preset_of_features(preset, missing):
    """`missing`: what takes Co-teaching's rate from the injected noise, of which images of one's own have none."""
    tree, evidence = read_yaml(Path("params.yaml")), read_yaml(Path("presets/parts/evidence.yaml"))
    for overlay in (read_yaml(Path(f"presets/{preset}.yaml")), evidence):
        merge(tree, overlay)
    laid = validate(tree, preset)
    plans = {name: make_plan(name, laid, DIGEST) for name in evidence["study"]["grids"] if name not in missing}
    cells = {
        "clean": 3, "pair": 3, "clinical": 3, "found": 3, "losses": 36, "picked": 36, "balance": 2, "number": 6,
        "students": 3,
    }  # fmt: skip
    assert {name: len(plan.units) for name, plan in plans.items()} == {
        name: count for name, count in cells.items() if name not in missing
    }
    for name in missing:
        with pytest.raises(UserError, match=r"Set rivals\.co_teaching_rate to your estimate"):
            make_plan(name, laid, DIGEST)
    assert len(make_plan("search", laid, DIGEST).units) == laid.study.trials


@pytest.mark.parametrize("preset", sorted(path.stem for path in Path("presets").glob("*.yaml")))
def test_a_preset_sets_what_a_search_may_have_changed(preset):
    """After `study apply` another preset starts from its own settings, not from those found on other data."""
    tree = read_yaml(Path("params.yaml"))
    merge(tree, read_yaml(Path("presets/parts/evidence.yaml")))
    own = read_yaml(Path(f"presets/{preset}.yaml"))
    for name in tree["study"]["space"]:
        place = own
        for part in name.split("."):
            assert part in place, f"{preset} leaves {name} as it was"
            place = place[part]


@pytest.mark.parametrize("name", OF_HEADS)
def test_a_grid_with_probes_needs_stored_features(name):
    with pytest.raises(
        UserError, match=rf"study\.grids\.{name}\.methods names knn, linear_probe, which answer from stored"
    ):
        make_plan(name, params(), DIGEST)


ONE_TO_TWO = {"low": 1.0, "high": 2.0}


def grid(method: str, **vary: list[float]) -> dict[str, Any]:
    return {"mine": {"methods": [method], "vary": [vary]}}


@pytest.mark.parametrize(
    ("study", "message"),
    [
        ({"space": {"distillation.taux": ONE_TO_TWO}}, "study.space.distillation.taux: distillation.taux is not"),
        ({"space": {"distillation.alpha": ONE_TO_TWO}}, "study.space.distillation.alpha: distillation.alpha is 2.0"),
        ({"space": {"data.image_size": {"choices": [32, 64]}}}, "study.space names data.image_size; a study can vary"),
        ({"space": {"seeds": {"choices": [1, 2]}}}, "study.space names seeds"),
        ({"space": {"machine.device": {"choices": ["cpu", "auto"]}}}, "names machine.device; a study can vary"),
        ({"grids": grid("roskd", **{"distillation.soft_labels": ["online"]})}, "soft_labels, which has no effect"),
        ({"grids": grid("rosk", **{"noise.rate": [0.1]})}, "study.grids.mine.methods names rosk; the methods are"),
        ({"grids": grid("roskd", **{"noise.rat": [0.1]})}, "did you mean noise.rate?"),
        ({"grids": grid("roskd", **{"noise.rate": [0.1, 1.0]})}, "noise.rate is 1.0"),
    ],
)  # fmt: skip
def test_a_mistake_is_reported_with_the_key_and_the_remedy(study, message):
    with pytest.raises(UserError) as error:
        make_plan("mine", params(**study), DIGEST)
    assert message in str(error.value)


def test_the_definition_holds_what_must_not_change_and_nothing_else():
    own = make_plan("mine", params(), DIGEST).definition
    assert make_plan("mine", params(trials=40, sampler="random", pruner="none"), DIGEST).definition == own
    assert make_plan("mine", params((0, 1)), DIGEST).definition != own
    assert make_plan("mine", params(), "1" * 64).definition != own
    assert make_plan("mine", params(metric="loss"), DIGEST).definition != own
    assert "distillation.tau" not in own["params"]
    assert own["params"]["training.epochs"] == 24


@pytest.mark.parametrize("name", ["it's", "../escape", ".", "", "journal.log", "two words"])
def test_a_name_that_is_no_folder_is_refused(name):
    with pytest.raises(UserError, match=r"a name is made of letters .a to z, A to Z., digits, - and _"):
        make_plan(name, params(), DIGEST)


@pytest.mark.parametrize(
    ("name", "low", "high", "whole"),
    [
        ("distillation.alpha", 0, 1, False),
        ("distillation.alpha", 0.0, 1.0, False),
        ("training.epochs", 4, 8, True),
        ("split.folds", 2, 5, True),  # null: as the bounds are
    ],
)
def test_a_range_holds_whole_numbers_where_the_parameter_does(name, low, high, whole):
    own = params(space={name: {"low": low, "high": high}})
    assert is_whole(own, name, own.study.space[name]) == whole


def test_values_are_described_shortly():
    assert described(
        {"distillation.tau": 2.123456, "student.architecture": "resnet18", "teachers.architectures": ["a", "b"]}
    ) == ("distillation.tau 2.123, student.architecture resnet18, teachers.architectures a+b")


def test_a_grid_with_other_values_is_another_grid():
    grids = [Plan("noise", (Unit({}),), ("roskd",), "f1_macro", {"vary": vary}) for vary in ([1], [2])]
    assert len({one.key for one in grids}) == 2
