"""The report's part on corrected labels: what it compares with, and each figure before and now."""

import json

import pandas as pd
import pytest

from pipeline.report import corrected, page
from pipeline.report.results import Results, load
from tests.report.conftest import write_csv

METRICS = ("precision_macro", "recall_macro", "f1_macro", "auroc_macro")


@pytest.fixture
def results(make_run) -> Results:
    """Two labels were corrected; of the two methods one gained a tenth everywhere."""
    params, layout = make_run()
    noise = json.loads(layout.noise.read_text())
    layout.noise.write_text(json.dumps(noise | {"corrected": 2}))
    rows = [
        {"method": method, "before": 0.5, "now": 0.5 + gain, "labels": 3, "metric": metric, "difference": gain}
        | {"low": gain - 0.05, "high": gain + 0.05, "p_value": 0.01, "p_holm": 0.02}
        | {"n_groups": 2, "n_seeds": 1, "resampled": "groups"}
        for method, gain in (("baseline_1", 0.0), ("roskd", 0.1))
        for metric in METRICS
    ]
    write_csv(layout.corrections, rows)
    return load(params, layout)


def test_each_method_has_its_figures_before_and_now_with_a_verdict(results):
    rows = {row.head: row for row in corrected.effects(results)}
    assert [*rows] == ["Baseline I (no teacher)", "RoS-KD (V, smoothed)"]
    assert rows["Baseline I (no teacher)"].cells == ["0.500 → 0.500", "0.000 [-0.050, +0.050]", "not shown"] * 4
    assert rows["RoS-KD (V, smoothed)"].cells == ["0.500 → 0.600", "+0.100 [+0.050, +0.150]", "higher"] * 4
    assert rows["RoS-KD (V, smoothed)"].kind == "ours"


def test_the_sentence_says_what_is_compared(results):
    assert corrected.sentence(results) == (
        "The corrections file names 2 labels; 3 given labels differ from those of the run that is compared with, which "
        "had fewer."
    )


def test_without_a_run_before_it_says_how_to_get_one(make_run):
    params, layout = make_run()
    noise = json.loads(layout.noise.read_text())
    layout.noise.write_text(json.dumps(noise | {"corrected": 1}))
    pd.DataFrame(columns=["method", "labels"]).to_csv(layout.corrections, index=False)
    results = load(params, layout)
    assert corrected.sentence(results).startswith("The corrections file names 1 label. What they do is shown where")
    assert corrected.effects(results) == []


def test_without_corrections_the_report_has_no_such_part(make_run, results):
    assert "What the corrections did" in page.render(results, {}, "page.html.j2")
    plain = load(*make_run())
    assert corrected.sentence(plain) == ""
    assert "What the corrections did" not in page.render(plain, {}, "page.html.j2")
