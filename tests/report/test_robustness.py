"""The part Robustness of the page: verdicts, ticks and crosses, the paper's Table II beside ours, the curves."""

from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_hex

from pipeline.evaluation.trust import TITLES
from pipeline.report import results, robustness, robustness_plots, style
from pipeline.report.page import build
from pipeline.report.robustness import Robustness
from tests.report.attacked import write_attacked

THIRD = "Baseline III (equal weights, all data)"


@pytest.fixture
def loaded(make_run):
    """Return a function that gives a run's results and its tables of attacked students."""

    def of(task: str = "multiclass", seeds=(0,), **made) -> tuple[results.Results, Robustness]:
        params, layout = make_run(task, seeds)
        write_attacked(layout, seeds, **made)
        run = results.load(params, layout)
        found = robustness.load(run)
        assert found is not None
        return run, found

    return of


def test_the_verdict_is_of_the_interval_and_the_p_value_at_each_budget(loaded):
    """At 1/255 the interval excludes 0, but the p-value after Holm is 0.06."""
    told = robustness.sentences(*loaded())
    assert told[:2] == [
        f"Under PGD in L2 RoS-KD keeps more F1 than {THIRD} at eps 0.25 and 1: shown; at eps 0.005: not shown.",
        f"Under PGD in L∞ RoS-KD keeps more F1 than {THIRD} at eps 4/255: shown; at eps 1/255: not shown.",
    ]
    assert told[2].startswith("All trust checks passed")
    assert told[3] == (
        f"At the paper's eps of 1.28/255 = 0.005 in L2, PGD takes {THIRD} from F1 0.700 to 0.700; the paper reports a "
        "fall from 0.694 to 0.309."
    )


def test_a_difference_the_other_way_and_none_at_all_are_told(loaded):
    run, found = loaded()
    table = found.comparisons
    for name in ("difference", "low", "high"):
        table[name] = -table[name]
    table[["low", "high"]] = table[["high", "low"]].to_numpy()
    assert robustness.sentences(run, found)[0] == (
        f"Under PGD in L2 RoS-KD keeps less F1 than {THIRD} at eps 0.25 and 1: shown; at eps 0.005: not shown."
    )
    table["p_holm"] = 1.0
    assert robustness.sentences(run, found)[0] == (
        f"Under PGD in L2 RoS-KD keeps more F1 than {THIRD} at eps 0.005, 0.25 and 1: not shown."
    )
    alone = loaded(without="roskd")
    assert robustness.sentences(*alone)[0] == "RoS-KD was not attacked, so nothing is said about it."


def test_failed_checks_are_crosses_and_a_warning(loaded):
    run, found = loaded(seeds=(0, 1), failed={"roskd": "square_not_stronger"})
    assert robustness.sentences(run, found)[2].startswith(
        "4 of 28 trust checks failed (RoS-KD (V, smoothed)): robustness that is measured there must not be believed."
    )
    rows = {row.head: row.cells for row in robustness.check_rows(found)}
    assert len(rows) == 7
    assert rows[f"{TITLES['square_not_stronger']}, L2"] == [
        "✓ −0.125 at 0.25 (2 of 2 seeds)", "✗ +0.300 at 0.25 (0 of 2 seeds)",
    ]  # fmt: skip
    assert rows[TITLES["gradients"]] == ["✓ −12.5% (2 of 2 seeds)"] * 2


def test_a_reference_that_is_never_right_has_no_budget_like_the_papers(loaded):
    run, found = loaded("multiclass")
    never = replace(found, figures=found.figures.assign(value=0.0))
    assert robustness.paper_like(run, never) is None
    assert {row.cells[1] for row in robustness.table_two(run, never)} == {"0.005"}


@pytest.mark.parametrize(("task", "paper"), [("multiclass", "0.309"), ("multilabel", "0.139")])
def test_table_two_is_at_the_papers_budget_and_at_the_one_that_does_what_the_paper_reports(loaded, task, paper):
    """Of .694 the paper leaves .309, of .329 .139: 0.25 leaves .31 of .7."""
    run, found = loaded(task)
    assert robustness.paper_like(run, found) == 0.25
    rows = robustness.table_two(run, found)
    assert [(row.head, *row.cells[:2]) for row in rows[:2]] == [
        (THIRD, "PGD", "0.005"), ("RoS-KD (V, smoothed)", "PGD", "0.005"),
    ]  # fmt: skip
    assert [row.cells[1] for row in rows] == ["0.005"] * 4 + ["0.25"] * 4
    own = next(row for row in rows if (row.head, *row.cells[:2]) == (THIRD, "PGD", "0.25"))
    assert own.cells[2:8] == ["0.700"] * 3 + ["0.310"] * 3
    assert own.cells[10] == paper
    fgsm = next(row for row in rows if (row.head, *row.cells[:2]) == (THIRD, "FGSM", "0.25"))
    assert fgsm.cells[5] == "0.410"


def test_without_budgets_in_l2_there_is_no_table_two(loaded):
    run, found = loaded(budgets={"linf": [1.0, 4.0]})
    assert robustness.table_two(run, found) == []
    assert robustness.paper_like(run, found) is None
    assert len(robustness.sentences(run, found)) == 2


def test_every_budget_has_a_row_with_all_attacks(loaded):
    _, found = loaded()
    rows = robustness.curve_rows(found)
    assert [(row.head, row.cells[0]) for row in rows] == [
        ("L2", "0.005"), ("L2", "0.25"), ("L2", "1"), ("L∞", "1/255"), ("L∞", "4/255"),
    ]  # fmt: skip
    assert rows[1].cells[1:] == ["0.410", "0.310", "0.460", "0.510", "0.700", "0.600", "0.750", "0.800"]


def test_switched_findings_have_a_row_for_each_direction_and_method(loaded):
    run, found = loaded("multilabel", budgets={"l2": [0.25]}, switches=("Mass",))
    assert robustness.switch_budgets(found) == ["clean", "L2 0.25"]
    rows = [(row.head, *row.cells) for row in robustness.switch_rows(found)]
    assert rows[0] == ("Mass", "called in 7 without it", THIRD, "0.125", "0.625")
    assert rows[3] == ("Mass", "hidden in 7 with it", "RoS-KD (V, smoothed)", "0.125", "0.625")
    assert len(rows) == 4
    build(run.params, run.layout)
    assert "Single findings, called and hidden" in run.layout.report.read_text(encoding="utf-8")
    _, found = loaded("multilabel")
    assert robustness.switch_rows(found) == []


def test_the_curves_are_the_figures_with_their_intervals(loaded):
    run, _ = loaded(seeds=(0, 1))
    with mpl.rc_context(style.RC):
        figure = robustness_plots.curves(run)
    assert figure is not None
    first, second, *_ = figure.axes
    assert [label.get_text() for label in first.get_xticklabels()] == ["clean", "0.005", "0.25", "1"]
    assert [label.get_text() for label in second.get_xticklabels()] == ["clean", "1/255", "4/255"]
    lines = {
        (to_hex(line.get_color()).upper(), line.get_linestyle(), line.get_marker()): np.asarray(line.get_ydata())
        for line in first.lines
        if len(np.atleast_1d(line.get_ydata())) > 2
    }
    of_roskd = style.METHOD_COLOURS["roskd"]
    np.testing.assert_allclose(lines[of_roskd, "-", "o"], [0.75, 0.74, 0.6, 0.2])
    np.testing.assert_allclose(lines[of_roskd, "--", "None"], [0.75, 0.84, 0.7, 0.3])
    np.testing.assert_allclose(lines[of_roskd, "None", "s"], [0.89, 0.75, 0.35])
    np.testing.assert_allclose(lines[of_roskd, "None", "^"], [0.94, 0.8, 0.4])
    heights = first.collections[0].get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == (pytest.approx(0.0), pytest.approx(0.75)), "0.05 around Baseline III"


def test_the_page_shows_the_part_or_says_that_nobody_was_attacked(make_run):
    params, layout = make_run()
    write_attacked(layout)
    build(params, layout)
    html = layout.report.read_text(encoding="utf-8")
    assert "keeps more F1 than Baseline III (equal weights, all data) at eps 0.25 and 1: shown" in html
    assert html.count('<span class="higher">✓</span>') == 14
    layout.robust_figures.unlink()
    build(params, layout)
    assert "No student was attacked" in layout.report.read_text(encoding="utf-8")
