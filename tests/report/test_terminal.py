"""The terminal table: what it holds, how wide it is, and what it claims."""

import pandas as pd
import pytest

from pipeline.common.errors import UserError
from pipeline.report import findings
from pipeline.report.findings import Difference, difference, number
from pipeline.report.results import load
from pipeline.report.terminal import terminal_table

NAN = float("nan")


def line(text: str, start: str, nth: int = 0) -> str:
    return [row for row in text.splitlines() if row.strip().startswith(start)][nth]


def test_one_seed_shows_bare_figures_and_the_papers_beside_them(make_run) -> None:
    text = terminal_table(load(*make_run()))
    assert line(text, "Baseline I (").split()[-8:] == ["0.500"] * 5 + ["0.653", "0.664", "0.658"]
    assert line(text, "Baseline III, RoS-KD's").split()[-5:] == ["0.620"] * 5, "the paper has no such method"
    assert line(text, "RoS-KD (V, smoothed)").split()[-3:] == ["0.713", "0.726", "0.716"]
    assert "paper's own data" in text.splitlines()[0]
    assert "A single run is an observation, not a result." in text.replace("\n", " ")


def test_several_seeds_show_mean_and_deviation_within_the_width(make_run) -> None:
    text = terminal_table(load(*make_run("multilabel", (0, 2))))
    # 0.50 and 0.52: mean .51, standard deviation .02 / sqrt 2
    assert line(text, "Baseline I (").split()[-8:] == [".510±.014"] * 5 + [".298", ".301", ".299"]
    assert "2 seeds" in text
    assert max(map(len, text.splitlines())) <= 110


def test_methods_stand_in_order_and_roskd_last(make_run) -> None:
    results = load(*make_run())
    assert results.methods == ["baseline_1", "baseline_3", "baseline_3_same", "baseline_5", "roskd"]
    rows = terminal_table(results).splitlines()[3:8]
    assert [row.split("  ")[0] for row in rows] == [
        "Baseline I (no teacher)",
        "Baseline III (equal weights, all data)",
        "Baseline III, RoS-KD's teachers",
        "Baseline V (stochastic)",
        "RoS-KD (V, smoothed)",
    ]


def test_the_table_says_where_roskd_loses_and_what_is_not_shown(make_run) -> None:
    text = terminal_table(load(*make_run()))
    assert line(text, "Baseline I (", 1).split()[-1] == "higher"
    assert line(text, "Baseline III (", -1).split()[-4:] == ["-0.050", "[-0.090,", "-0.010]", "lower"]
    assert line(text, "Baseline V (", 1).endswith("not shown")
    assert line(text, "Baseline III, RoS-KD's", 1).split()[-2:] == ["+0.030", "untested"]
    flat = " ".join(text.split())
    assert "Highest F1: Baseline III (equal weights, all data), 0.700; RoS-KD has 0.650, place 2 of 5." in flat
    assert "4 images of 2 lesions" in flat
    assert "16.7% of 6 training images changed" in flat
    assert "seeds fixed: the intervals speak about new patients, not about new training runs" in flat
    assert "Higher or lower: the interval excludes 0 and the p-value, corrected after Holm" in flat
    assert "Holm for the family of 3 comparisons, is below 0.05; otherwise a difference is not shown." in flat
    assert "Intervals are not corrected." in flat


def test_with_seeds_resampled_too_the_stronger_claim_is_shown(make_run) -> None:
    results = load(*make_run(seeds=(0, 1, 2, 3, 4)))
    assert set(results.comparisons["resampled"]) == {"groups", "groups+seeds"}
    found = difference(results, "roskd", "baseline_1", "f1_macro")
    assert found == Difference(0.15, pytest.approx(-0.05), pytest.approx(0.35), pytest.approx(0.112))
    text = terminal_table(results)
    assert line(text, "Baseline I (", 1).split()[-3:] == ["+0.350]", "not", "shown"]
    flat = " ".join(text.split())
    assert "new patients and new runs; comparisons.csv also holds those with seeds fixed" in flat
    assert "for the family of 3 comparisons, is below 0.05" in flat
    assert max(map(len, text.splitlines())) <= 110


def test_the_longest_differences_stay_within_the_width(make_run) -> None:
    params, layout = make_run()
    path = layout.comparisons
    table = pd.read_csv(path)
    table.loc[table["method_b"] == "baseline_3", ["low", "high"]] = [-0.09, 0.01]
    table.to_csv(path, index=False)
    rows = terminal_table(load(params, layout)).splitlines()
    (widest,) = [row for row in rows if row.startswith("Baseline III (equal weights, all data)  -0.050")]
    assert widest.endswith("-0.050 [-0.090, +0.010]  not shown")
    assert len(widest) <= 110


def test_without_comparisons_no_difference_is_claimed(make_run) -> None:
    text = " ".join(terminal_table(load(*make_run(full=False))).split())
    assert "No intervals were computed, so no difference is shown." in text
    assert "higher" not in text
    assert "lower" not in text


@pytest.mark.parametrize(
    ("low", "high", "p_holm", "verdict"),
    [(0.01, 0.2, 0.04, "higher"), (-0.2, -0.01, 0.04, "lower"), (-0.1, 0.1, 0.04, "not shown"),
     (0.0, 0.2, 0.04, "not shown"), (-0.2, 0.0, 0.04, "not shown"), (0.01, 0.2, 0.05, "not shown"),
     (-0.2, -0.01, 0.3, "not shown"), (-0.1, 0.1, 0.3, "not shown"), (NAN, NAN, NAN, "untested"),
     (0.01, 0.2, NAN, "untested"), (NAN, NAN, 0.04, "untested")],
)  # fmt: skip
def test_a_verdict_needs_the_interval_and_the_corrected_p_value(
    low: float, high: float, p_holm: float, verdict: str
) -> None:
    assert Difference(0.05, low, high, p_holm).verdict == verdict


def test_an_interval_is_printed_whatever_the_verdict() -> None:
    assert Difference(0.05, 0.01, 0.2).text == Difference(0.05, 0.01, 0.2, 0.3).text == "+0.050 [+0.010, +0.200]"
    assert Difference(0.05).text == "+0.050"
    assert Difference(NAN).text == "undefined"


def test_a_pair_is_found_either_way_round(make_run) -> None:
    results = load(*make_run())
    assert difference(results, "baseline_3_same", "baseline_3", "f1_macro") == Difference(-0.08, -0.15, -0.01, 0.03)
    bare = difference(results, "baseline_5", "baseline_3_same", "f1_macro")
    assert bare is not None
    assert bare.value == pytest.approx(-0.02)
    assert bare.verdict == "untested"
    assert difference(results, "baseline_5", "baseline_4", "f1_macro") is None


def test_numbers() -> None:
    assert number(0.71349, 0.01251) == "0.713 ± 0.013"
    assert number(0.5) == "0.500"
    assert number(float("nan")) == ""
    assert Difference(-0.0001, -0.1, 0.0001).text == "0.000 [-0.100, 0.000]"


@pytest.mark.parametrize(("count", "said"), [(1, "fewer than the 2 epochs"), (2, "its own view")])
def test_views_against_epochs(make_run, count: int, said: str) -> None:
    assert said in findings.views_sentence(load(*make_run(views={"count": count})))


def test_a_missing_table_is_named(make_run) -> None:
    params, layout = make_run()
    layout.student_metrics.unlink()
    with pytest.raises(UserError, match=r"metrics/students\.csv: no such file"):
        load(params, layout)
