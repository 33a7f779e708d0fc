"""The page: self-contained, complete, and whole where parts of the run are missing."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from pipeline.common import layout as artifacts
from pipeline.report import data_plots, page, plots, style, tables
from pipeline.report.page import FIGURES, build
from pipeline.report.results import load, located


def visible(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", re.sub(r"<style>.*?</style>", "", html, flags=re.DOTALL)).split())


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_a_full_run_gives_every_figure_and_self_contained_pages(make_run, task: str) -> None:
    params, root = make_run(task, [0, 1])
    build(params, root)
    html = (root / "report/index.html").read_text(encoding="utf-8")
    expected = set(FIGURES) - ({"transition"} if task == "multilabel" else set())
    assert {path.stem for path in (root / "report/figures").iterdir()} == expected
    assert html.count('src="data:image/png;base64,') == len(expected)
    for name in ("index.html", "data_card.html"):
        page_text = (root / "report" / name).read_text(encoding="utf-8")
        assert not re.search(r'(src|href)="(?!data:|#)', page_text), f"{name} loads something from elsewhere"
        targets = set(re.findall(r'href="#([^"]+)"', page_text))
        assert targets <= set(re.findall(r' id="([^"]+)"', page_text)), f"{name} links to nowhere"
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
    assert drawn == {"bars", "differences", "class_auroc", "group_sizes", "transition"}
    assert "No teacher was measured." in (root / "report/index.html").read_text(encoding="utf-8")


def test_one_teacher_one_seed_and_undefined_figures(make_run) -> None:
    params, root = make_run(K=1)
    path = located(root, artifacts.STUDENT_METRICS)
    students = pd.read_csv(path)
    students.loc[students["metric"] == "auroc_macro", "value"] = np.nan
    students.to_csv(path, index=False)
    build(params, root)
    results = load(params, root)
    assert data_plots.shared_counts(results).tolist() == [[4]]
    assert tables.main(results)[0].cells[3] == ""
    assert "AUROC is undefined for every method." in (root / "report/index.html").read_text(encoding="utf-8")


def test_names_from_the_data_are_escaped(make_run) -> None:
    params, root = make_run(full=False)
    path = located(root, artifacts.DATA_REPORT)
    report = json.loads(path.read_text()) | {"classes": ["<script>alert(1)</script>", "B"]}
    path.write_text(json.dumps(report))
    build(params, root)
    for name in ("index.html", "data_card.html"):
        html = (root / "report" / name).read_text(encoding="utf-8")
        assert "<script>" not in html
        assert "&lt;script&gt;" in html
        assert "&lt;truncated&gt; after 7 bytes" in html


def test_the_same_run_gives_the_same_bytes(make_run) -> None:
    params, root = make_run()
    build(params, root)
    first = [(root / "report" / name).read_bytes() for name in ("index.html", "data_card.html")]
    build(params, root)
    assert [(root / "report" / name).read_bytes() for name in ("index.html", "data_card.html")] == first


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
    assert [row.cells[1:4] for row in rows] == [
        ["-0.080 [-0.150, -0.010]", "lower", "0.030"],
        ["-0.020", "untested", ""],
        ["+0.050 [-0.020, +0.120]", "not shown", "0.300"],
    ]


def test_parameters_of_studies_are_not_those_of_this_run(make_run) -> None:
    sections = dict(tables.parameters(load(*make_run())))
    assert "study" not in sections
    assert ("weighting.concentration", "1.0") in sections["distillation"]


def test_differences_with_corrected_p_values(make_run) -> None:
    params, root = make_run()
    rows = {row.head: row.cells for row in tables.differences(load(params, root))}
    assert rows["Baseline I (no teacher)"] == ["+0.150 [+0.050, +0.250]", "higher", "0.012"] * 2
    assert rows["Baseline III (equal weights, all data)"] == ["-0.050 [-0.090, -0.010]", "lower", "0.040"] * 2
    assert rows["Baseline III, RoS-KD's teachers"] == ["+0.030", "untested", ""] * 2
    build(params, root)
    text = visible((root / "report/index.html").read_text(encoding="utf-8"))
    assert "RoS-KD minus F1 RoS-KD is p (Holm) AUROC RoS-KD is p (Holm)" in text
    assert "Baseline I (no teacher) +0.150 [+0.050, +0.250] higher 0.012 +0.150 [+0.050, +0.250] higher 0.012" in text
    assert "that of RoS-KD within the 3 comparisons above, the others within a family of their own." in text


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


def test_every_method_has_a_colour_of_its_own() -> None:
    colours = [style.METHOD_COLOURS[method] for method in page.findings.TITLES]
    assert len(set(colours)) == len(colours)
