"""The page: self-contained, complete, and whole where parts of the run are missing."""

import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pipeline.distillation.methods import METHODS
from pipeline.report import data_plots, findings, plots, style, tables
from pipeline.report.page import FIGURES, build
from pipeline.report.results import load
from tests.data.made_files import write_hashes


def visible(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", re.sub(r"<style>.*?</style>", "", html, flags=re.DOTALL)).split())


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_a_full_run_gives_every_figure_and_self_contained_pages(make_run, task: str) -> None:
    params, layout = make_run(task, (0, 1))
    build(params, layout)
    html = layout.report.read_text(encoding="utf-8")
    expected = set(FIGURES) - ({"transition", "estimated_noise"} if task == "multilabel" else set())
    assert {path.stem for path in layout.figures.iterdir()} == expected
    assert html.count('src="data:image/png;base64,') == len(expected)
    for name in ("index.html", "data_card.html"):
        page_text = (layout.report.parent / name).read_text(encoding="utf-8")
        assert not re.search(r'(src|href)="(?!data:|#|\.\./audit/index\.html")', page_text), f"{name} loads something"
        targets = set(re.findall(r'href="#([^"]+)"', page_text))
        assert targets <= set(re.findall(r' id="([^"]+)"', page_text)), f"{name} links to nowhere"
    assert layout.table.read_text(encoding="utf-8").splitlines()[1].startswith("Method")
    text = visible(html)
    assert "Baseline III (equal weights, all data) 0.705 ± 0.007" in text
    assert "Smoothing of the student's weights RoS-KD (V, smoothed) minus Baseline V" in visible(html).replace(
        "&#39;", "'"
    )
    assert "weighting.concentration 1.0" in text


def test_what_is_missing_is_left_out(make_run) -> None:
    params, layout = make_run(full=False)
    stale = layout.figures / "overlap.png"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"of an earlier run")
    build(params, layout)
    drawn = {path.stem for path in layout.figures.iterdir()}
    assert drawn == {"bars", "differences", "class_auroc", "group_sizes", "transition"}
    assert "No teacher was measured." in layout.report.read_text(encoding="utf-8")


def test_one_teacher_one_seed_and_undefined_figures(make_run) -> None:
    params, layout = make_run(K=1)
    path = layout.student_metrics
    students = pd.read_csv(path)
    students.loc[students["metric"] == "auroc_macro", "value"] = np.nan
    students.to_csv(path, index=False)
    build(params, layout)
    results = load(params, layout)
    assert data_plots.shared_counts(results).tolist() == [[4]]
    assert tables.main(results)[0].cells[3] == ""
    assert "AUROC is undefined for every method." in layout.report.read_text(encoding="utf-8")


def test_names_from_the_data_are_escaped(make_run) -> None:
    params, layout = make_run(full=False)
    script = "<script>alert(1)</script>"
    report = json.loads(layout.data_report.read_text()) | {"classes": [script, "B"]}
    layout.data_report.write_text(json.dumps(report))
    for path in (layout.samples, layout.labels):
        pd.read_csv(path).replace("A", script).to_csv(path, index=False)
    write_hashes(layout)
    build(params, layout)
    for name in ("index.html", "data_card.html"):
        html = (layout.report.parent / name).read_text(encoding="utf-8")
        assert html.count("<script>") == 1, "the one that sorts tables"
        assert "<script>alert" not in html
        assert "&lt;script&gt;" in html
        assert "&lt;truncated&gt; after 7 bytes" in html


def test_the_same_run_gives_the_same_bytes(make_run) -> None:
    params, layout = make_run()
    build(params, layout)
    first = [(layout.report.parent / name).read_bytes() for name in ("index.html", "data_card.html")]
    build(params, layout)
    assert [(layout.report.parent / name).read_bytes() for name in ("index.html", "data_card.html")] == first


def test_best_figures_are_bold_and_equal_ones_alike(make_run) -> None:
    params, layout = make_run()
    path = layout.student_metrics
    students = pd.read_csv(path, keep_default_na=False, na_values={"value": ""})
    tie = (students["method"] == "roskd") & (students["metric"] == "f1_macro")
    students.loc[tie, "value"] = 0.7001
    students.to_csv(path, index=False)
    bold = {row.head: row.bold for row in tables.main(load(params, layout))}
    # columns: precision, recall, F1, AUROC, ECE (the lower the better)
    assert bold["Baseline III (equal weights, all data)"] == {0, 1, 2, 3}
    assert bold["RoS-KD (V, smoothed)"] == {2}
    assert bold["Baseline I (no teacher)"] == {4}


def test_ingredients_with_their_verdicts(make_run) -> None:
    rows = tables.ingredients(load(*make_run()))
    assert [row.cells[1:4] for row in rows] == [
        ["-0.080 [-0.150, -0.010]", "lower", "0.030"],
        ["-0.020", "untested", ""],
        ["+0.050 [-0.020, +0.120]", "not shown", "0.300"],
    ]


def test_an_ingredient_is_left_out_where_one_of_its_methods_was_not_measured(make_run) -> None:
    params, layout = make_run(full=False)
    students = pd.read_csv(layout.student_metrics)
    students.loc[students["method"] != "baseline_3_same"].to_csv(layout.student_metrics, index=False)
    results = load(params, layout)
    assert [row.head for row in tables.ingredients(results)] == ["Smoothing of the student's weights"]
    other = students.loc[students["method"] == "baseline_3"].assign(method="stochastic_full")
    pd.concat([students, other]).to_csv(layout.student_metrics, index=False)
    shown = [row.cells[0] for row in tables.ingredients(load(params, layout))]
    assert shown == [
        "Baseline III, RoS-KD's teachers minus Baseline III (equal weights, all data)",
        "Baseline V (stochastic) minus Baseline III, RoS-KD's teachers",
        "Stochastic weights, all data minus Baseline III (equal weights, all data)",
        "RoS-KD (V, smoothed) minus Baseline V (stochastic)",
    ]


@pytest.mark.parametrize("method", ["roskd", "baseline_1"])
def test_a_run_of_one_method_has_a_page(make_run, method: str) -> None:
    params, layout = make_run(methods=[method])
    students = pd.read_csv(layout.student_metrics)
    students.loc[students["method"] == method].to_csv(layout.student_metrics, index=False)
    layout.comparisons.write_text(layout.comparisons.read_text().splitlines()[0] + "\n")
    build(params, layout)
    text = visible(layout.report.read_text(encoding="utf-8"))
    assert "No two methods were measured that differ in one of them alone." in text
    assert {path.stem for path in layout.figures.iterdir()} >= {"bars", "class_auroc"}
    assert "differences.png" not in {path.name for path in layout.figures.iterdir()}
    table = layout.table.read_text(encoding="utf-8")
    assert "No intervals were computed, so no difference is shown." in table
    assert ("RoS-KD was not measured." in table) == (method != "roskd")


def test_a_difference_is_drawn_full_where_it_is_shown_alone(make_run) -> None:
    params, layout = make_run()
    table = pd.read_csv(layout.comparisons)
    table.loc[(table["method_b"] == "baseline_1") & (table["metric"] == "auroc_macro"), "p_holm"] = 0.05
    table.to_csv(layout.comparisons, index=False)
    figure = plots.differences(load(params, layout))
    assert figure is not None
    marks = [[line for line in panel.lines if line.get_marker() == "o"] for panel in figure.axes]
    # RoS-KD against Baselines I, III, III with its teachers (untested), and V (the interval holds 0)
    assert [[mark.get_markerfacecolor() != "white" for mark in panel] for panel in marks] == [
        [True, True, False, False],
        [False, True, False, False],
    ]
    assert np.allclose([float(np.asarray(mark.get_xdata())[0]) for mark in marks[0]], [0.15, -0.05, 0.03, 0.05])


def test_parameters_of_studies_are_not_those_of_this_run(make_run) -> None:
    sections = dict(tables.parameters(load(*make_run())))
    assert "study" not in sections
    assert ("weighting.concentration", "1.0") in sections["distillation"]


def test_differences_with_corrected_p_values(make_run) -> None:
    params, layout = make_run()
    rows = {row.head: row.cells for row in tables.differences(load(params, layout))}
    assert rows["Baseline I (no teacher)"] == ["+0.150 [+0.050, +0.250]", "higher", "0.012"] * 2
    assert rows["Baseline III (equal weights, all data)"] == ["-0.050 [-0.090, -0.010]", "lower", "0.040"] * 2
    assert rows["Baseline III, RoS-KD's teachers"] == ["+0.030", "untested", ""] * 2
    build(params, layout)
    text = visible(layout.report.read_text(encoding="utf-8"))
    assert "RoS-KD minus F1 RoS-KD is p (Holm) AUROC RoS-KD is p (Holm)" in text
    assert "Baseline I (no teacher) +0.150 [+0.050, +0.250] higher 0.012 +0.150 [+0.050, +0.250] higher 0.012" in text
    assert "that of RoS-KD within the 3 comparisons above, the others within a family of their own." in text


def test_confusion_counts(make_run) -> None:
    # predictions A B B B for the published A A B B, in each of two seeds
    counts, totals = plots.confusion_counts(load(*make_run(seeds=(0, 1))), "baseline_1") or ([], [])
    np.testing.assert_array_equal(counts, [[2, 2], [0, 4]])
    np.testing.assert_array_equal(totals, [4, 4])


def test_confusion_of_findings_uses_the_tuned_thresholds(make_run) -> None:
    params, layout = make_run("multilabel")
    # published A, AB, B, none; probabilities (.88, .12) (.12, .88) (.12, .88) (.12, .27)
    counts, totals = plots.confusion_counts(load(params, layout), "baseline_1") or ([], [])
    np.testing.assert_array_equal(counts, [[1, 1, 0], [0, 2, 0], [0, 0, 1]])
    np.testing.assert_array_equal(totals, [2, 2, 1])
    path = layout.student_metrics
    students = pd.read_csv(path, keep_default_na=False, na_values={"value": ""})
    row = {"seed": 0, "method": "baseline_1", "checkpoint": "last", "split": "test", "metric": "threshold"}
    students.loc[len(students)] = row | {"class": "B", "value": 0.25}
    students.to_csv(path, index=False)
    counts, _ = plots.confusion_counts(load(params, layout), "baseline_1") or ([], [])
    np.testing.assert_array_equal(counts, [[1, 1, 0], [0, 2, 0], [0, 1, 0]])


def test_every_method_has_a_colour_of_its_own() -> None:
    colours = [style.METHOD_COLOURS[method] for method in METHODS]
    assert len(set(colours)) == len(colours)


def test_a_password_of_the_studies_storage_is_on_no_page(make_run) -> None:
    params, layout = make_run(study={"storage": "postgresql://user:secret@host/studies"})
    build(params, layout)
    assert [
        path.name for path in layout.report.parent.glob("*.*") if "secret" in path.read_text(encoding="utf-8")
    ] == []


def test_rivals_stand_under_a_rule_of_their_own_also_without_the_papers_methods(make_run) -> None:
    params, layout = make_run()
    students = pd.read_csv(layout.student_metrics)
    rival = students.loc[students["method"] == "baseline_1"].assign(method="gce")
    for table, above in ((pd.concat([students, rival]), 5), (rival, 0)):
        table.to_csv(layout.student_metrics, index=False)
        build(params, layout)
        html = layout.report.read_text(encoding="utf-8")
        assert html.count("Rivals, not in the paper") == 1
        assert html.index("Rivals, not in the paper") < html.index("<th>Generalised cross-entropy")
        lines = layout.table.read_text(encoding="utf-8").splitlines()
        assert lines[3 + above].startswith("-- rivals, not in the paper ---")
        assert lines[4 + above].startswith("Generalised cross-entropy")
    assert "Students after the last epoch." in html


def test_the_verdict_names_whom_roskd_is_shown_to_be_above_and_below_of(make_run) -> None:
    results = load(*make_run())
    assert findings.verdict_sentence(results, "f1_macro") == (
        "F1 of RoS-KD is shown to be higher than that of Baseline I; F1 of RoS-KD is shown to be lower than that of "
        "Baseline III; no difference in F1 is shown to Baseline V; no test was made against Baseline III, RoS-KD's "
        "teachers."
    )
    alone = replace(results, students=results.students.loc[results.students["method"] == "roskd"])
    assert findings.verdict_sentence(alone, "f1_macro") == ""
