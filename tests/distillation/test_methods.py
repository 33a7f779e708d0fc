"""The table of methods: which trainings and teachers a choice of methods needs, and what is compared with what."""

import pytest

from pipeline.distillation.methods import (
    INGREDIENTS,
    METHODS,
    PLAIN,
    RIVALS,
    SUBJECT,
    checkpoints_of,
    compared,
    families,
    ordered,
    ranked,
    runs_of,
    served,
    teachers_needed,
    teachers_of,
)

ALL = [
    "baseline_1", "baseline_2", "baseline_3", "stochastic_full", "baseline_3_same", "baseline_4", "baseline_5",
    "roskd_unseen", "roskd", "roskd_cross", "baseline_1_published", "early_stopped", "label_smoothing", "gce", "sce",
    "elr", "co_teaching", "linear_probe", "knn",
]  # fmt: skip
FIVE = ("resnet18", "resnet34", "resnet50", "mobilenet_v2", "densenet121")
THREE = ("resnet34", "resnet18", "mobilenet_v2")


def test_the_table_says_how_each_method_differs():
    found = {
        name: (one.pool, one.weighting, one.single, one.unseen_only, one.run, one.checkpoint)
        for name, one in METHODS.items()
    }
    assert found == {
        "baseline_1": (None, "uniform", False, False, "baseline_1", "last"),
        "baseline_2": ("full", "uniform", True, False, "baseline_2", "last"),
        "baseline_3": ("full", "uniform", False, False, "baseline_3", "last"),
        "stochastic_full": ("full", "stochastic", False, False, "stochastic_full", "last"),
        "baseline_3_same": ("subset", "uniform", False, False, "baseline_3_same", "last"),
        "baseline_4": ("subset", "reinforced", False, False, "baseline_4", "last"),
        "baseline_5": ("subset", "stochastic", False, False, "baseline_5", "last"),
        "roskd_unseen": ("subset", "stochastic", False, True, "roskd_unseen", "last"),
        "roskd": ("subset", "stochastic", False, False, "baseline_5", "smoothed"),
        "roskd_cross": ("subset", "uniform", False, True, "roskd_cross", "smoothed"),
        "baseline_1_published": (None, "uniform", False, False, "baseline_1_published", "last"),
        "early_stopped": (None, "uniform", False, False, "baseline_1", "selected"),
        **{
            name: (None, "uniform", False, False, name, "last")
            for name in ("label_smoothing", "gce", "sce", "elr", "co_teaching", "linear_probe", "knn")
        },
    }
    assert {name: one.probe for name, one in METHODS.items() if one.probe} == {
        name: name for name in ("linear_probe", "knn")
    }
    assert {name: one.rival for name, one in METHODS.items() if one.rival} == {
        name: name for name in ("label_smoothing", "gce", "sce", "elr", "co_teaching")
    }
    assert [name for name, method in METHODS.items() if method.paper] == [
        "baseline_1", "baseline_2", "baseline_3", "baseline_4", "baseline_5", "roskd",
    ]  # fmt: skip
    assert (SUBJECT, PLAIN) == ("roskd", "baseline_1")
    assert len({method.title for method in METHODS.values()}) == len(METHODS)


def test_a_method_that_is_another_runs_result_learns_from_the_same_teachers():
    """What `run` trains must be what both rows say, or one of them would be reported wrongly."""
    for method in METHODS.values():
        run = METHODS[method.run]
        assert run.run == method.run
        for property_ in ("pool", "weighting", "single", "unseen_only", "rival"):
            assert getattr(run, property_) == getattr(method, property_)


def test_a_teacher_is_named_by_architecture_and_from_the_second_on_by_partition(make_params):
    params = make_params(teachers={"architectures": ["mobilenet_v2", "densenet121"]}, subsets={"partitions": 2})
    names = ("mobilenet_v2", "densenet121", "mobilenet_v2-p2", "densenet121-p2")
    assert params.teacher_names("subset") == names
    assert params.teacher_names("full") == names[:2]
    assert params.teacher_names(None) == ()
    networks = params.teacher_networks("subset")
    assert [networks[name].architecture for name in names] == ["mobilenet_v2", "densenet121"] * 2
    assert teachers_of(METHODS["roskd"], names) == names


def test_methods_are_ordered_as_in_the_tables():
    assert ordered(METHODS) == ALL
    assert ordered(["roskd", "baseline_3_same", "stochastic_full", "roskd"]) == [
        "stochastic_full", "baseline_3_same", "roskd",
    ]  # fmt: skip
    assert ordered([]) == []


@pytest.mark.parametrize(
    ("names", "runs"),
    [
        (["roskd"], ["baseline_5"]),
        (["roskd", "baseline_5", "baseline_1"], ["baseline_1", "baseline_5"]),
        (["roskd", "roskd_unseen", "baseline_2"], ["baseline_2", "baseline_5", "roskd_unseen"]),
        (ALL, [name for name in ALL if name not in ("roskd", "early_stopped")]),
        (["early_stopped"], ["baseline_1"]),
        ([], []),
    ],
)
def test_roskd_is_a_result_of_baseline_5s_training(names, runs):
    assert runs_of(names) == runs


@pytest.mark.parametrize("name", ALL)
def test_a_run_is_measured_at_every_checkpoint_and_another_result_of_it_at_its_own(name):
    alone = {"roskd": ("smoothed",), "early_stopped": ("selected",)}
    assert checkpoints_of(name) == alone.get(name, ("last", "selected", "smoothed"))


@pytest.mark.parametrize(
    ("names", "against", "shares"),
    [
        (
            ["roskd", *ALL],
            [("roskd", name) for name in ALL if name not in ("roskd", "baseline_1_published")],
            [("baseline_3_same", "baseline_3"), ("baseline_5", "baseline_3_same"), ("stochastic_full", "baseline_3")],
        ),
        (["baseline_1", "roskd"], [("roskd", "baseline_1")], []),
        (["baseline_5", "roskd"], [("roskd", "baseline_5")], []),
        (["baseline_3", "baseline_3_same", "baseline_1"], [], [("baseline_3_same", "baseline_3")]),
        (["baseline_3_same", "baseline_5", "baseline_3"], [],
         [("baseline_3_same", "baseline_3"), ("baseline_5", "baseline_3_same")]),
        (["roskd"], [], []),
        (["baseline_4", "baseline_1"], [], []),
    ],
)  # fmt: skip
def test_roskd_is_compared_with_every_other_and_the_ingredients_own_shares_are_a_second_family(names, against, shares):
    beyond = [("roskd_cross", name) for name in ("baseline_1", *RIVALS)] if "roskd_cross" in names else []
    gap = [("baseline_1_published", "baseline_1")] if "baseline_1_published" in names else []
    assert families(names) == [against, shares, beyond, gap]


def test_each_ingredient_is_a_difference_of_two_methods():
    assert [(one.method, one.without) for one in INGREDIENTS] == [
        ("baseline_3_same", "baseline_3"), ("baseline_5", "baseline_3_same"), ("stochastic_full", "baseline_3"),
        ("roskd", "baseline_5"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["roskd", "baseline_1"], "roskd"),
        (["baseline_1", "roskd", "baseline_5"], "roskd"),
        (["baseline_5", "baseline_3"], "baseline_3"),
        (["baseline_1"], "baseline_1"),
        (["baseline_1", "baseline_1_published"], "baseline_1"),
        (["baseline_1_published"], "baseline_1_published"),
        (["baseline_1", "linear_probe", "knn"], "baseline_1"),
        (["baseline_1_published", "knn"], "baseline_1_published"),
    ],
)
def test_roskds_student_is_served_or_else_the_last_ones(names, expected):
    assert served(names) == expected


@pytest.mark.parametrize(
    ("name", "architectures", "expected"),
    [
        ("baseline_1", FIVE, ()),
        ("baseline_2", FIVE, ("densenet121",)),
        ("baseline_2", ("densenet121", "resnet18"), ("densenet121",)),
        ("baseline_2", THREE, ("mobilenet_v2",)),
        ("baseline_3", THREE, THREE),
        ("stochastic_full", THREE, THREE),
        ("roskd", FIVE, FIVE),
    ],
)
def test_a_single_teacher_is_the_densenet_or_the_last(name, architectures, expected):
    assert teachers_of(METHODS[name], architectures) == expected


@pytest.mark.parametrize(
    ("names", "architectures", "full", "subset"),
    [
        (["roskd"], FIVE, (), FIVE),
        (["baseline_1"], FIVE, (), ()),
        (["baseline_2"], FIVE, ("densenet121",), ()),
        (["baseline_2", "roskd"], THREE, ("mobilenet_v2",), THREE),
        (["baseline_2", "baseline_3"], THREE, THREE, ()),
        (["stochastic_full"], THREE, THREE, ()),
        (["baseline_3_same", "baseline_4"], THREE, (), THREE),
        (ALL, FIVE, FIVE, FIVE),
        ([], FIVE, (), ()),
    ],
)
def test_only_teachers_that_a_method_learns_from_are_needed(names, architectures, full, subset):
    assert teachers_needed(names, "full", architectures) == full
    assert teachers_needed(names, "subset", architectures) == subset


def test_the_yardstick_is_neither_compared_nor_ranked_unless_it_is_alone():
    names = ["baseline_1", "roskd", "baseline_1_published"]
    assert compared(names) == ["baseline_1"]
    assert ranked(names) == ["baseline_1", "roskd"]
    assert ranked(["baseline_1_published"]) == ["baseline_1_published"]
