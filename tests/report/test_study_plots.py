"""The pictures of studies hold the numbers of their tables: lines, intervals, bars, panels and their names."""

import numpy as np
import optuna
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer

from pipeline.distillation.methods import METHODS
from pipeline.report.study_plots import grid_figure, main_rows, search_figures, varied

SHOWN = ("roskd", "baseline_5", "baseline_3")
METRICS = ("f1_macro", "auroc_macro")


def summary(cells: list[dict[str, str]]) -> pd.DataFrame:
    """A grid's summary.csv; each value has its place: cells count hundredths, methods tenths, AUROC adds 0.05."""
    rows = []
    for number, cell in enumerate(cells):
        for place, method in enumerate(SHOWN):
            for checkpoint in ("smoothed",) if method == "roskd" else ("last", "smoothed"):
                for metric in METRICS:
                    value = 0.1 * (place + 1) + 0.01 * number + 0.05 * (metric == "auroc_macro")
                    value += 0.001 * (checkpoint != ("smoothed" if method == "roskd" else "last"))
                    rows.append(
                        cell
                        | {"method": method, "checkpoint": checkpoint, "metric": metric, "value": value}
                        | {"low": value - 0.02, "high": value + 0.03}
                    )
    return pd.DataFrame(rows)


def lines(panel: Axes) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Each method's x, y and (lowest, highest) of its intervals."""
    found = {}
    for container in panel.containers:
        assert isinstance(container, ErrorbarContainer)
        line, _, (bars,) = container.lines
        bounds = np.array([[segment[0, 1], segment[1, 1]] for segment in bars.get_segments()])
        found[str(container.get_label())] = (np.asarray(line.get_xdata()), np.asarray(line.get_ydata()), bounds)
    return found


def test_each_method_is_a_line_through_its_values_with_its_intervals():
    cells = [{"noise.rate": rate} for rate in ("0", "0.4", "0.2")]
    figure = grid_figure(summary(cells), ["noise.rate"])
    left, right = figure.axes
    found = lines(left)
    assert list(found) == [METHODS[method].title for method in SHOWN]
    x, y, bounds = found[METHODS["roskd"].title]
    assert np.allclose(x, [0, 0.2, 0.4], atol=0.02), "methods stand beside one another"
    assert np.allclose(y, [0.10, 0.12, 0.11]), "in the order of the axis, not of the table"
    assert np.allclose(bounds, np.stack([y - 0.02, y + 0.03], axis=1))
    _, y, _ = lines(right)[METHODS["baseline_3"].title]
    assert np.allclose(y, [0.35, 0.37, 0.36])
    assert left.get_xlabel() == right.get_xlabel() == "noise.rate"
    assert [panel.get_ylabel() for panel in (left, right)] == ["macro F1, test split", "macro AUROC, test split"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(found)


def test_a_second_factor_gives_a_row_of_panels_for_each_value():
    cells = [{"subsets.overlap": p, "subsets.equal_size": equal} for equal in ("False", "True") for p in ("0", "0.5")]
    figure = grid_figure(summary(cells), ["subsets.overlap", "subsets.equal_size"])
    titles = [panel.get_title(loc="left") or panel.get_title() for panel in figure.axes]
    assert titles == ["subsets.equal_size False"] * 2 + ["subsets.equal_size True"] * 2
    assert np.allclose(lines(figure.axes[0])[METHODS["roskd"].title][1], [0.10, 0.11])
    assert np.allclose(lines(figure.axes[2])[METHODS["roskd"].title][1], [0.12, 0.13])


def test_names_stand_apart_without_a_line_between_them():
    figure = grid_figure(
        summary([{"student.architecture": one} for one in ("resnet18", "resnet50")]), ["student.architecture"]
    )
    panel = figure.axes[0]
    assert [label.get_text() for label in panel.get_xticklabels()] == ["resnet18", "resnet50"]
    assert {container.lines[0].get_linestyle() for container in panel.containers} == {"None"}  # type: ignore[union-attr]


@pytest.mark.parametrize("factor", ["teachers.architectures", "teachers.heads"])
def test_a_list_of_teachers_is_their_number(factor):
    figure = grid_figure(summary([{factor: one} for one in ("a", "a+b", "a+b+c")]), [factor])
    panel = figure.axes[0]
    assert panel.get_xlabel() == "number of teachers K"
    assert [label.get_text() for label in panel.get_xticklabels()] == ["1", "2", "3"]


@pytest.mark.parametrize(("values", "scale"), [(("0.1", "1", "10"), "log"), (("0.2", "0.4"), "linear")])
def test_an_axis_over_powers_of_ten_is_logarithmic(values, scale):
    name = "distillation.weighting.concentration"
    assert grid_figure(summary([{name: one} for one in values]), [name]).axes[0].get_xscale() == scale


def test_one_cell_is_bars_of_the_last_epoch_and_the_smoothed_weights():
    figure = grid_figure(summary([{"subsets.overlap": "0.4"}]), ["subsets.overlap"])
    left, right = figure.axes
    titles = [METHODS[method].title for method in ("baseline_5", "baseline_3")]
    assert [label.get_text() for label in left.get_yticklabels()] == titles
    assert np.allclose([bar.get_width() for bar in left.patches], [0.2, 0.201, 0.3, 0.301])  # type: ignore[attr-defined]
    assert np.allclose([bar.get_width() for bar in right.patches], [0.25, 0.251, 0.35, 0.351])  # type: ignore[attr-defined]
    assert [text.get_text() for text in left.texts] == ["0.200", "0.201", "0.300", "0.301"]
    assert np.allclose(np.asarray(left.lines[0].get_xdata()), [0.18, 0.23])


def test_methods_stand_for_the_last_epoch_and_roskd_for_the_smoothed_weights():
    rows = main_rows(summary([{"noise.rate": "0"}]))
    assert set(zip(rows["method"], rows["checkpoint"], strict=True)) == {
        ("roskd", "smoothed"), ("baseline_5", "last"), ("baseline_3", "last"),
    }  # fmt: skip


def test_numbers_come_to_the_axis_before_names_and_what_does_not_vary_is_left_out():
    table = summary(
        [
            {"noise.kind": kind, "noise.rate": rate, "seed": "0"}
            for kind in ("pair", "symmetric", "matrix")
            for rate in "01"
        ]
    )
    assert varied(table, ["noise.kind", "noise.rate", "seed"]) == ["noise.rate", "noise.kind"]


def test_a_search_is_drawn_with_its_own_numbers():
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))

    def objective(trial: optuna.Trial) -> float:
        tau = trial.suggest_float("distillation.tau", 0.25, 20, log=True)
        alpha = trial.suggest_float("distillation.alpha", 0, 1)
        for epoch in (1, 2, 3):
            trial.report(alpha * epoch / 3, epoch)
        return alpha + 0.01 * tau

    study.optimize(objective, n_trials=8)
    figures = search_figures(study, "f1_macro")
    assert list(figures) == ["history", "slice", "importance", "contour", "learning"]
    points = np.asarray(figures["history"].axes[0].collections[0].get_offsets())
    assert np.allclose(points[:, 1], [trial.value for trial in study.trials])
    assert figures["history"].axes[0].get_ylabel() == "validation f1_macro"
    assert {panel.get_xlabel() for panel in figures["slice"].axes} >= {"tau", "alpha"}
    curves = [np.asarray(line.get_ydata()) for line in figures["learning"].axes[0].lines]
    assert any(
        np.allclose(curve, study.trials[0].params["distillation.alpha"] * np.array([1, 2, 3]) / 3) for curve in curves
    )


def test_pictures_that_a_search_does_not_allow_are_left_out():
    study = optuna.create_study()
    study.optimize(lambda trial: trial.suggest_float("distillation.alpha", 0, 1), n_trials=1)
    assert list(search_figures(study, "loss")) == ["history", "slice"]
    study.optimize(lambda trial: trial.suggest_float("distillation.alpha", 0, 1), n_trials=5)
    assert list(search_figures(study, "loss")) == ["history", "slice", "importance"]


def test_a_search_of_one_trial_has_its_learning_curve():
    def objective(trial: optuna.Trial) -> float:
        for epoch in (1, 2, 3):
            trial.report(0.1 * epoch, epoch)
        return trial.suggest_float("distillation.alpha", 0, 1)

    study = optuna.create_study()
    study.optimize(objective, n_trials=1)
    panel = search_figures(study, "f1_macro")["learning"].axes[0]
    assert np.allclose(np.asarray(panel.lines[0].get_ydata()), [0.1, 0.2, 0.3])
    assert panel.get_legend() is None
