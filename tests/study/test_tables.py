"""The tables of a grid: every student's figures, means with intervals, and RoS-KD against the others."""

import numpy as np
import pandas as pd
import pytest

from pipeline.evaluation.comparisons import holm
from pipeline.params.tree import Params
from pipeline.study.students import Outcome
from pipeline.study.tables import COMPARISONS, RESULTS, SUMMARY, Cell, write_tables
from tests.study.made_outcome import made_outcome


@pytest.fixture
def params(make_params) -> Params:
    return make_params(seeds=[0, 1])


def outcome(wrong: int) -> Outcome:
    return made_outcome(wrong, images=40)


def test_tables_hold_every_student_the_means_and_the_differences(params, tmp_path):
    students = {"roskd": {0: outcome(2), 1: outcome(4)}, "baseline_1": {0: outcome(10), 1: outcome(10)}}
    equal = {**students, "baseline_1": students["roskd"]}
    write_tables([Cell({"noise.rate": 0.2}, students), Cell({"noise.rate": 0.4}, equal)], params, tmp_path)
    results = pd.read_csv(tmp_path / RESULTS).set_index(["noise.rate", "split", "metric", "method"]).sort_index()
    chosen = results.loc[(0.2, "test", "f1_macro", "roskd")]
    assert chosen.set_index("seed")["value"].to_dict() == pytest.approx({0: 0.95, 1: 0.9}, abs=1e-3)
    assert set(results.loc[(0.2, "test", "f1_macro", "baseline_1"), "checkpoint"]) == {"last", "selected", "smoothed"}
    summary = pd.read_csv(tmp_path / SUMMARY).set_index(["noise.rate", "method", "checkpoint", "metric"])
    row = summary.loc[(0.2, "roskd", "smoothed", "f1_macro")]
    assert row["value"] == pytest.approx(0.925)
    assert row["sd"] == pytest.approx(np.std([0.95, 0.9], ddof=1))
    assert row["low"] < 0.925 < row["high"]
    pairs = pd.read_csv(tmp_path / COMPARISONS).set_index(["noise.rate", "metric"])
    assert pairs.loc[(0.2, "f1_macro"), "difference"] == pytest.approx(0.175)
    assert pairs.loc[(0.2, "f1_macro"), "low"] > 0
    assert pairs.loc[(0.4, "f1_macro"), "difference"] == 0
    assert pairs.loc[(0.4, "f1_macro"), "p_value"] == 1


def test_ingredients_are_a_family_of_their_own(params, tmp_path):
    names = ("roskd", "baseline_5", "baseline_3_same", "baseline_3", "stochastic_full")
    students = {name: {seed: outcome(2 * wrong + seed) for seed in (0, 1)} for wrong, name in enumerate(names)}
    write_tables([Cell({"subsets.overlap": 0.4}, students)], params, tmp_path)
    pairs = pd.read_csv(tmp_path / COMPARISONS)
    pairs = pairs.loc[pairs["metric"] == "f1_macro"].set_index(["method_a", "method_b"])
    assert list(pairs.index) == [
        *(("roskd", name) for name in ("baseline_3", "stochastic_full", "baseline_3_same", "baseline_5")),
        ("baseline_3_same", "baseline_3"),
        ("baseline_5", "baseline_3_same"),
        ("stochastic_full", "baseline_3"),
    ]
    assert pairs.loc[("stochastic_full", "baseline_3"), "difference"] == pytest.approx(-0.05, abs=1e-3)
    raw = pairs["p_value"].to_numpy()
    assert pairs["p_holm"].to_numpy()[4:] == pytest.approx(holm(raw[4:])), "corrected among themselves"


def test_a_grid_without_a_pair_has_a_table_of_comparisons_without_rows(params, tmp_path):
    write_tables([Cell({"noise.rate": 0.2}, {"baseline_1": {0: outcome(1), 1: outcome(2)}})], params, tmp_path)
    pairs = pd.read_csv(tmp_path / COMPARISONS)
    assert len(pairs) == 0
    assert list(pairs.columns)[:4] == ["noise.rate", "method_a", "method_b", "metric"]
    assert {"difference", "p_holm", "resampled"} < set(pairs.columns)


def test_early_stopping_is_in_the_tables_though_its_weights_are_the_selected_ones(params, tmp_path):
    students = {"roskd": {0: outcome(2), 1: outcome(4)}, "early_stopped": {0: outcome(10), 1: outcome(10)}}
    write_tables([Cell({"noise.rate": 0.2}, students)], params, tmp_path)
    summary = pd.read_csv(tmp_path / SUMMARY).query("metric == 'f1_macro'")
    assert set(zip(summary["method"], summary["checkpoint"], strict=True)) == {
        ("roskd", "smoothed"), ("early_stopped", "selected"),
    }  # fmt: skip
    pairs = pd.read_csv(tmp_path / COMPARISONS).query("metric == 'f1_macro'").set_index(["method_a", "method_b"])
    assert pairs.loc[("roskd", "early_stopped"), "difference"] == pytest.approx(0.175)
