"""The page of a grid: one row for each setting and method, whatever its blocks vary."""

import numpy as np
import pandas as pd
import pytest

from pipeline.report.study_plots import grid_figure, main_rows, runs_are_there, varied
from pipeline.study.page import comparison_table, picks_table, read_tables, summary_table
from pipeline.study.picks import picked_cells
from pipeline.study.plan import make_plan
from pipeline.study.tables import cells_of, write_tables
from tests.study.made_outcome import Students, made_outcome


@pytest.fixture
def tables(tmp_path, make_params) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """The summary and comparisons of a grid of two blocks, of which one leaves the rate to params.yaml."""
    blocks = [{"noise.kind": ["symmetric"], "noise.rate": [0.2, 0.4]}, {"noise.kind": ["pair"]}]
    params = make_params(study={"grids": {"mine": {"methods": ["roskd", "baseline_1"], "vary": blocks}}})
    plan = make_plan("mine", params, "0" * 64)
    write_tables(cells_of(plan, [unit.values for unit in plan.units], params, Students()), params, tmp_path)
    factors = list(plan.factors)
    return (*read_tables(tmp_path, factors), factors)


def test_a_block_that_leaves_a_parameter_alone_shows_its_value(tables):
    summary, comparisons, factors = tables
    assert factors == ["noise.kind", "noise.rate"]
    many = varied(summary, factors)
    rows = summary_table(summary, many).rows
    assert [row[:3] for row in rows] == [
        [title, rate, kind]
        for kind, rate in (("symmetric", "0.2"), ("symmetric", "0.4"), ("pair", "0.4"))
        for title in ("RoS-KD (V, smoothed)", "Baseline I (no teacher)")
    ]
    assert all(row[3] == "1.000 [1.000, 1.000]" for row in rows)
    assert len(comparison_table(comparisons, many).rows) == 3 * 2


def test_a_grid_shows_what_each_method_could_choose_and_what_it_chose(tmp_path, make_params):
    """Validation favours factor 2 for RoS-KD, and cannot tell the factors of Baseline I apart: it keeps the first."""
    blocks = [{"noise.rate": [0.2, 0.4], "student.lr_factor": [1.0, 2.0]}]
    grid = {"methods": ["roskd", "baseline_1"], "vary": blocks, "pick": ["student.lr_factor"]}
    params = make_params(study={"grids": {"mine": grid}})
    plan = make_plan("mine", params, "0" * 64)
    assert plan.factors == ("noise.rate",)

    class Better(Students):
        def train(self, params, seed, run, on_epoch=None):
            return made_outcome(1 if run == "baseline_5" and params.student.lr_factor == 1 else 0)

    wanted = [unit.values for unit in plan.units if unit.values != {"noise.rate": 0.4, "student.lr_factor": 1.0}]
    cells, picks = picked_cells(plan, wanted, params, Better())
    assert [cell.values for cell in cells] == [{"noise.rate": 0.2}, {"noise.rate": 0.4}]
    write_tables(cells, params, tmp_path)
    rows = main_rows(read_tables(tmp_path, ["noise.rate"])[0])
    assert set(rows.loc[rows["metric"] == "f1_macro", "value"]) == {1.0}, "figures are those of the chosen settings"
    table = picks_table(pd.DataFrame(picks), ["noise.rate"], plan)
    assert table.heads == ["Method", "noise.rate", "student.lr_factor 1", "student.lr_factor 2"]
    assert table.rows == [
        ["RoS-KD (V, smoothed)", "0.2", "0.899", "1.000 ✓"],
        ["Baseline I (no teacher)", "0.2", "1.000 ✓", "1.000"],
        ["RoS-KD (V, smoothed)", "0.4", "–", "1.000 ✓"],
        ["Baseline I (no teacher)", "0.4", "–", "1.000 ✓"],
    ]


def test_a_setting_of_two_blocks_is_one_candidate_and_one_that_was_not_asked_for_is_left_blank(make_params):
    blocks = [
        {"noise.rate": [0.2], "student.lr_factor": [1.0, 2.0]},
        {"noise.rate": [0.2, 0.4], "student.lr_factor": [1.0]},
    ]
    grid = {"methods": ["roskd"], "vary": blocks, "pick": ["student.lr_factor"]}
    params = make_params(study={"grids": {"mine": grid}})
    plan = make_plan("mine", params, "0" * 64)
    _, picks = picked_cells(plan, [unit.values for unit in plan.units], params, Students())
    assert picks_table(pd.DataFrame(picks), ["noise.rate"], plan).rows == [
        ["RoS-KD (V, smoothed)", "0.2", "1.000 ✓", "1.000"],
        ["RoS-KD (V, smoothed)", "0.4", "1.000 ✓", "–"],
    ]


@pytest.mark.parametrize("paired", [True, False])
def test_bars_of_one_setting_show_every_run_or_every_method(make_params, tmp_path, paired):
    methods = ["baseline_1", "roskd", "early_stopped", *(["baseline_5"] if paired else [])]
    grid = {"methods": methods, "vary": [{"noise.rate": [0.2]}]}
    params = make_params(study={"grids": {"mine": grid}})
    plan = make_plan("mine", params, "0" * 64)
    write_tables(cells_of(plan, [unit.values for unit in plan.units], params, Students()), params, tmp_path)
    summary, _ = read_tables(tmp_path, ["noise.rate"])
    assert runs_are_there(summary) is paired
    panel = grid_figure(summary, ["noise.rate"], paired=paired).axes[0]
    titles = ["Baseline I (no teacher)", "Baseline V (stochastic)"]
    if not paired:
        titles = ["Baseline I (no teacher)", "RoS-KD (V, smoothed)", "Early stopping (Baseline I)"]
    assert [label.get_text() for label in panel.get_yticklabels()] == titles
    assert len(panel.patches) == (4 if paired else 3)


def test_every_setting_is_in_the_picture(tables):
    summary, _, factors = tables
    figure = grid_figure(summary, factors)
    drawn = sum(len(container.lines[0].get_xdata()) for panel in figure.axes for container in panel.containers)
    assert drawn == len(main_rows(summary).loc[lambda rows: rows["metric"].isin(["f1_macro", "auroc_macro"])])


def test_a_difference_without_an_interval_is_neither_higher_nor_lower(tables):
    _, comparisons, factors = tables
    undefined = comparisons.assign(difference=np.nan, low=np.nan, high=np.nan, p_holm=np.nan)
    assert {row[-2] for row in comparison_table(undefined, factors).rows} == {"untested"}
    assert {row[-2] for row in comparison_table(comparisons, factors).rows} == {"not shown"}
