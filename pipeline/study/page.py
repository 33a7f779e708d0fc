"""The end of a study: its tables, pictures and page, in the terminal and in the tracker."""

from pathlib import Path
from typing import Any

import pandas as pd

from pipeline import tracking
from pipeline.common.errors import UserError
from pipeline.common.layout import Layout
from pipeline.distillation.methods import METHODS
from pipeline.evaluation.predictions import Row
from pipeline.params.tree import Params
from pipeline.report.data_card import noise_words
from pipeline.report.findings import Difference
from pipeline.report.study_page import Drawing, Table, write_page
from pipeline.report.study_plots import grid_figure, main_rows, runs_are_there, search_figures, varied
from pipeline.study.found import (
    CAPTIONS,
    TRIALS,
    Found,
    best_trial,
    comparison,
    contenders,
    price,
    write_trials,
)
from pipeline.study.grid import Grid
from pipeline.study.picks import PICKS, picked_cells, write_picks
from pipeline.study.plan import Plan, described, finished_cells, make_plan
from pipeline.study.students import Students
from pipeline.study.tables import COMPARISONS, RESULTS, SUMMARY, cells_of, write_tables
from pipeline.study.trials import Trials, open_storage

FIGURES = {"f1_macro": "F1", "auroc_macro": "AUROC"}


def finish(params: Params, layout: Layout, name: str, wall: float | None = None, workers: int = 1) -> None:
    """Write everything that a study shows; `wall`: seconds of the whole study by the clock, if it ran in one go.

    Raises UserError where no trial is complete.
    """
    students = Students(params, layout)
    plan = make_plan(name, params, students.data.digest)
    if plan.is_grid:
        _finish_grid(plan, params, layout, students)
        return
    trials = Trials(plan, open_storage(params, layout))
    best = best_trial(trials, plan)
    cost = None if wall is None else price(plan, params, students, trials, wall, workers)
    _finish_search(plan, params, layout, Found(best, contenders(plan, params, students, best), cost), trials)


def _finish_grid(plan: Plan, params: Params, layout: Layout, students: Students) -> None:
    folder, grid = layout.study(plan.name), Grid(plan, params, layout, students)
    cells = finished_cells(plan, [number for number in range(len(plan.units)) if grid.is_finished(number)])
    left_out = _left_out(plan, grid)
    if not cells:
        why = left_out[0] if left_out else f"{len(grid.left())} of {len(plan.units)} are left; run continues with them"
        raise UserError(f"study {plan.name}: no setting is complete with every seed; {why}")
    picks: list[Row] = []
    if plan.picked:
        found, picks = picked_cells(plan, cells, params, students)
        write_picks(picks, folder / PICKS)
    else:
        found = cells_of(plan, cells, params, students)
    write_tables(found, params, folder)
    factors = list(plan.factors)
    summary, comparisons = read_tables(folder, factors)
    many, paired = varied(summary, factors), not picks and runs_are_there(summary)
    figure = grid_figure(summary, factors, paired=paired)
    bars = "Pale: weights of the last epoch; full: smoothed weights. Baseline V with smoothed weights is RoS-KD."
    caption = "Means over seeds; thin lines are 95 % intervals over test groups with the seeds fixed. "
    caption += "Methods are side by side at each value." if many else bars if paired else ""
    drawing = Drawing(figure, f"Test figures of the grid {plan.name}", caption)
    lines = [_data_line(params), _cells_line(plan, summary, factors), *left_out]
    tables = [summary_table(summary, many)]
    if len(comparisons):
        tables.append(comparison_table(comparisons, many))
    if picks:
        tables.append(picks_table(pd.DataFrame(picks), many, plan))
    files = write_page(folder, plan.name, f"Ablation: {plan.name}", lines, tables, {"grid": drawing})
    run = tracking.study_run(params, layout, plan.name, plan.key)
    _track_units(plan, grid, run)
    written = (RESULTS, SUMMARY, COMPARISONS, *((PICKS,) if picks else ()))
    run.finish({}, [*files, *(folder / one for one in written)], f"ablation grid {plan.name}")
    for line in left_out:
        print(f"study {plan.name}: {line}")
    print(f"study {plan.name}: {folder / SUMMARY}; page: {files[0]}")


def _track_units(plan: Plan, grid: Grid, run: tracking.StudyRun) -> None:
    """Give every finished unit of a grid its own run, with what its students reached."""
    for number, unit in enumerate(plan.units):
        if grid.is_finished(number) and not run.has_trial(number):
            run.drop_trial(number)  # what an interrupted report has begun
            figures = {
                f"{name}/{student}/{checkpoint}": value
                for student, outcome in grid.outcomes(number).items()
                if outcome is not None
                for checkpoint in ("last", "smoothed")
                for name, value in outcome.headline(checkpoint).items()
            }
            title = f"{plan.name} {number}: {described(unit.values)}, seed {unit.seed}"
            with run.trial(number, title, unit.values | {"seed": unit.seed}) as trial:
                trial.measured(figures, "complete")


def _finish_search(plan: Plan, params: Params, layout: Layout, found: Found, trials: Trials) -> None:
    folder = layout.study(plan.name)
    table = write_trials(trials, folder / TRIALS)
    states = ", ".join(f"{count} {state}" for state, count in table["state"].value_counts().items())
    lines = [
        _data_line(params),
        f"{len(table)} trials ({states}), each one student of RoS-KD{_per_seed(params)}; best by validation "
        f"{plan.metric}: {described(found.best.params)}.",
        *([f"{found.price}."] if found.price else []),
    ]
    drawings = {
        name: Drawing(figure, f"{name} of the search", CAPTIONS[name])
        for name, figure in search_figures(trials.study(), plan.metric).items()
    }
    columns = list(found.rows[0].figures)
    compared = Table(
        "Means over seeds; RoS-KD with smoothed weights, Baseline I after the last epoch. Trials were chosen by "
        "validation, whose labels are as noisy as those trained on; test labels are as published.",
        ["", *columns],
        [[row.title, *(f"{row.figures[name]:.3f}" for name in columns)] for row in found.rows],
    )
    files = write_page(folder, plan.name, f"Search: {plan.name}", lines, [compared], drawings)
    run = tracking.study_run(params, layout, plan.name, plan.key)
    values = {f"best/{name}": value for name, value in found.rows[0].figures.items()}
    run.finish(values, [*files, folder / TRIALS], lines[1])
    print(f"\nstudy {plan.name}: {lines[1]}\n{comparison(found.rows, plan.metric)}")
    if found.price:
        print(found.price)
    print(f"page: {files[0]}; python -m pipeline.study apply {plan.name} writes the best parameters into params.yaml")


def _left_out(plan: Plan, grid: Grid) -> list[str]:
    """Return why settings of a grid are missing from its tables: a sentence for each training that failed."""
    reasons = [(unit, grid.reason(unit)) for unit in plan.units]
    return [
        f"Left out: {described(unit.values)}, since seed {unit.seed} failed: {reason}"
        for unit, reason in reasons
        if reason
    ]


def _per_seed(params: Params) -> str:
    return " for each seed" if len(params.seeds) > 1 else ""


def _data_line(params: Params) -> str:
    training = params.training
    return (
        f"{params.data.source}, {params.data.image_size} px, {training.epochs} epochs, batch {training.batch_size}, "
        f"seeds {', '.join(map(str, params.seeds))}. Label noise, unless varied: {noise_words(params.noise)}."
    )


def _cells_line(plan: Plan, summary: pd.DataFrame, factors: list[str]) -> str:
    """Return what the grid varies, and what it sets to one value."""
    many = varied(summary, factors)
    fixed = {name: summary[name].iloc[0] for name in factors if name not in many}
    parts = [f"{len(summary[factors].drop_duplicates())} settings" if many else "One setting"]
    parts += [f"varied: {', '.join(many)}"] if many else []
    parts += [f"set: {described(fixed)}"] if fixed else []
    parts += [f"each method at the {', '.join(plan.picked)} that validation favours"] if plan.picked else []
    return f"{'; '.join(parts)}. Methods: {', '.join(METHODS[name].title for name in plan.methods)}."


def read_tables(folder: Path, factors: list[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read summary.csv and comparisons.csv of a grid; its factors are words, also where they look like numbers."""
    kinds = dict.fromkeys(factors, str)

    def read(name: str) -> pd.DataFrame:
        return pd.read_csv(folder / name, dtype=kinds, keep_default_na=False, na_values=[""])

    return read(SUMMARY), read(COMPARISONS)


def summary_table(summary: pd.DataFrame, factors: list[str]) -> Table:
    """The page's table of every method's figures in each setting."""
    cells = []
    for key, rows in main_rows(summary).groupby([*factors, "method"], sort=False):
        *values, method = key
        figures = rows.set_index("metric")
        cells.append(
            [METHODS[str(method)].title, *map(str, values), *(_figure(figures.loc[metric]) for metric in FIGURES)]
        )
    heads = ["Method", *factors, *FIGURES.values()]
    caption = "Test split: mean (± standard deviation over seeds) and 95 % interval over test groups."
    return Table(caption, heads, cells, text=1 + len(factors))


def _figure(row: Any) -> str:
    spread = f" ± {row['sd']:.3f}" if pd.notna(row["sd"]) else ""
    return f"{row['value']:.3f}{spread} [{row['low']:.3f}, {row['high']:.3f}]"


def comparison_table(comparisons: pd.DataFrame, factors: list[str]) -> Table:
    """The page's table of differences, each with its interval and whether it is shown."""
    kind = "groups+seeds" if (comparisons["resampled"] == "groups+seeds").any() else "groups"
    rows = comparisons.loc[(comparisons["resampled"] == kind) & comparisons["metric"].isin(list(FIGURES))]
    cells = []
    for row in rows.to_dict("records"):
        difference = Difference(row["difference"], row["low"], row["high"], row["p_holm"])
        pair = [METHODS[str(row[name])].title for name in ("method_a", "method_b")]
        setting = [*(str(row[name]) for name in factors), FIGURES[str(row["metric"])]]
        cells.append([*pair, *setting, difference.text, difference.verdict, f"{difference.p_holm:.3f}"])
    scope = "groups and seeds" if kind == "groups+seeds" else "test groups, with the seeds fixed"
    caption = (
        f"Differences, first minus second, with 95 % intervals from a paired bootstrap over {scope}. Families in each "
        "setting: RoS-KD against every other method, the shares of its ingredients, cross-fitting against plain "
        "training and the rivals, and the noise gap; p after Holm within each."
    )
    heads = ["Method", "minus", *factors, "figure", "difference", "the first is", "p (Holm)"]
    return Table(caption, heads, cells, 3 + len(factors))


def picks_table(picks: pd.DataFrame, factors: list[str], plan: Plan) -> Table:
    """The page's table of what each method could choose from, and what it chose."""
    metric = f"val/{plan.metric}"
    picks = picks.assign(setting=[described({name: row[name] for name in plan.picked}) for _, row in picks.iterrows()])
    settings = list(dict.fromkeys(picks["setting"]))
    cells = []
    for key, rows in picks.groupby([*factors, "method"], sort=False):
        *values, method = key
        found = {row["setting"]: f"{row[metric]:.3f}" + " ✓" * row["chosen"] for row in rows.to_dict("records")}
        shown = [found.get(one, "–") for one in settings]
        cells.append([METHODS[str(method)].title, *map(str, values), *shown])
    caption = (
        f"Mean {plan.metric} over seeds on the validation split, whose labels are as noisy as those trained on; ✓: the "
        "setting that a method chose, and has in the tables above; –: not measured."
    )
    return Table(caption, ["Method", *factors, *settings], cells, text=1 + len(factors))
