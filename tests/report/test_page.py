"""The page: self-contained, complete, and whole where parts of the run are missing."""

import re

import numpy as np
import pandas as pd
import pytest

from pipeline import artifacts
from pipeline.report import data_plots, page, plots, style, tables
from pipeline.report.page import FIGURES, build
from pipeline.report.results import load, located


def visible(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", re.sub(r"<style>.*?</style>", "", html, flags=re.DOTALL)).split())


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_a_full_run_gives_every_figure_and_a_self_contained_page(make_run, task: str) -> None:
    params, root = make_run(task, [0, 1])
    build(params, root)
    html = (root / "report/index.html").read_text(encoding="utf-8")
    assert sorted(path.stem for path in (root / "report/figures").iterdir()) == sorted(FIGURES)
    assert html.count('src="data:image/png;base64,') == len(FIGURES)
    assert not re.search(r'(src|href)="(?!data:|#)', html), "the page loads something from elsewhere"
    assert (root / "report/table.txt").read_text(encoding="utf-8").splitlines()[1].startswith("Method")
    text = visible(html)
    assert "Baseline III (equal weights, all data) 0.705 ± 0.007" in text
    assert "Smoothing of the student's weights RoS-KD (V, smoothed) minus Baseline V" in visible(html).replace(
        "&#39;", "'"
    )
    assert "weighting.concentration 1.0" in text


def test_what_is_missing_is_left_out(make_run) -> None:
    params, root = make_run(full=False)
    stale = root / "report/figures/overlap.png"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"of an earlier run")
    build(params, root)
    drawn = {path.stem for path in (root / "report/figures").iterdir()}
    assert drawn == {"bars", "differences", "class_auroc"}
    assert "No teacher was measured." in (root / "report/index.html").read_text(encoding="utf-8")


def test_one_teacher_one_seed_and_undefined_figures(make_run) -> None:
    params, root = make_run(K=1)
    path = located(root, artifacts.STUDENT_METRICS)
    students = pd.read_csv(path)
    students.loc[students["metric"] == "auroc_macro", "value"] = np.nan
    students.to_csv(path, index=False)
    build(params, root)
    results = load(params, root)
    assert data_plots.overlap_shares(results) == pytest.approx(np.array([[4 / 6]]))
    assert tables.main(results)[0].cells[3] == ""
    assert "AUROC is undefined for every method." in (root / "report/index.html").read_text(encoding="utf-8")


def test_names_from_the_data_are_escaped(make_run) -> None:
    params, root = make_run(full=False)
    located(root, artifacts.DATA_REPORT).write_text('{"classes": ["<script>alert(1)</script>", "B"]}')
    build(params, root)
    html = (root / "report/index.html").read_text(encoding="utf-8")
    assert "<script>" not in html
    assert "&lt;script&gt;" in html


def test_the_same_run_gives_the_same_bytes(make_run) -> None:
    params, root = make_run()
    build(params, root)
    first = (root / "report/index.html").read_bytes()
    build(params, root)
    assert (root / "report/index.html").read_bytes() == first


def test_best_figures_are_bold_and_equal_ones_alike(make_run) -> None:
    params, root = make_run()
    path = located(root, artifacts.STUDENT_METRICS)
    students = pd.read_csv(path, keep_default_na=False, na_values={"value": ""})
    tie = (students["method"] == "roskd") & (students["metric"] == "f1_macro")
    students.loc[tie, "value"] = 0.7001
    students.to_csv(path, index=False)
    bold = {row.head: row.bold for row in tables.main(load(params, root))}
    # columns: precision, recall, F1, AUROC, ECE (the lower the better)
    assert bold["Baseline III (equal weights, all data)"] == {0, 1, 2, 3}
    assert bold["RoS-KD (V, smoothed)"] == {2}
    assert bold["Baseline I (no teacher)"] == {4}


def test_ingredients_with_their_verdicts(make_run) -> None:
    rows = tables.ingredients(load(*make_run()))
    assert [row.cells[1:3] for row in rows] == [
        ["-0.080 [-0.150, -0.010]", "lower"],
        ["-0.020", "untested"],
        ["+0.050 [-0.020, +0.120]", "not shown"],
    ]


def test_class_counts_by_split_and_as_given(make_run) -> None:
    single = {row.head: row.cells for row in tables.class_counts(load(*make_run(full=False)))}
    assert single == {
        "A": ["3", "1", "2", "2"], "B": ["3", "1", "2", "4"],
        "images": ["6", "2", "4", "6"], "groups": ["3", "1", "2", "3"],
    }  # fmt: skip
    several = {row.head: row.cells for row in tables.class_counts(load(*make_run("multilabel", full=False)))}
    assert several["A"] == ["2", "1", "2", "1"]
    assert several["no finding"] == ["2", "0", "1", "2"]


def test_overlap_shares(make_run) -> None:
    # six training samples; the first teacher sees s0 to s3, the second s2 to s5
    shares = data_plots.overlap_shares(load(*make_run()))
    assert shares == pytest.approx(np.array([[4, 2], [2, 4]]) / 6)


def test_confusion_counts(make_run) -> None:
    # predictions A B B B for the published A A B B, in each of two seeds
    counts, totals = plots.confusion_counts(load(*make_run(seeds=[0, 1])), "baseline_1") or ([], [])
    np.testing.assert_array_equal(counts, [[2, 2], [0, 4]])
    np.testing.assert_array_equal(totals, [4, 4])


def test_confusion_of_findings_uses_the_tuned_thresholds(make_run) -> None:
    params, root = make_run("multilabel")
    # published A, AB, B, none; probabilities (.88, .12) (.12, .88) (.12, .88) (.12, .27)
    counts, totals = plots.confusion_counts(load(params, root), "baseline_1") or ([], [])
    np.testing.assert_array_equal(counts, [[1, 1, 0], [0, 2, 0], [0, 0, 1]])
    np.testing.assert_array_equal(totals, [2, 2, 1])
    path = located(root, artifacts.STUDENT_METRICS)
    students = pd.read_csv(path, keep_default_na=False, na_values={"value": ""})
    row = {"seed": 0, "method": "baseline_1", "checkpoint": "last", "split": "test", "metric": "threshold"}
    students.loc[len(students)] = row | {"class": "B", "value": 0.25}
    students.to_csv(path, index=False)
    counts, _ = plots.confusion_counts(load(params, root), "baseline_1") or ([], [])
    np.testing.assert_array_equal(counts, [[1, 1, 0], [0, 2, 0], [0, 1, 0]])


def test_the_sheet_shows_changed_labels(make_run) -> None:
    results = load(*make_run())
    assert data_plots.sheet_rows(results.samples, "A") == [1, 2, 0], "the changed one stands last"
    assert data_plots.sheet_rows(results.samples, "A", 2) == [1, 0]
    assert data_plots.sheet_rows(results.samples, "B", 2) == [3, 5], "evenly spread, all unchanged"


@pytest.mark.parametrize(
    ("given", "published", "lines"),
    [
        ("NV", "NV", []),
        ("NV", "MEL", ["given NV"]),
        ("Mass|Nodule", "Mass", ["+ Nodule"]),
        ("", "Mass", ["− Mass"]),
        ("Mass", "Effusion|Nodule", ["+ Mass", "and 2 more"]),
        ("Nodule|Mass", "Mass|Nodule", []),
    ],
)
def test_label_changes(given: str, published: str, lines: list[str]) -> None:
    assert data_plots.label_change(given, published) == lines


def test_every_method_has_a_colour_of_its_own() -> None:
    colours = [style.METHOD_COLOURS[method] for method in page.findings.TITLES]
    assert len(set(colours)) == len(colours)
