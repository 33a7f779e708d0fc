"""What corrections did: paired differences of two outcomes, and files of which half-written ones count for nothing."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.evaluation.comparisons import holm
from pipeline.evaluation.corrections import EFFECT_COLUMNS, Outcome, effect, read_outcome, write_outcome
from pipeline.evaluation.predictions import RESAMPLED, figures_of
from tests.evaluation.judged import answers_to, truth_of

GROUPS = np.arange(80) // 2
GIVEN = np.arange(200) % 3


def outcome(task: str, strength: float, seeds: int = 1, corrected: int = 0) -> Outcome:
    truth = truth_of(task)  # type: ignore[arg-type]
    answers = {
        method: [answers_to(truth, seed=10 * place + seed, strength=strength) for seed in range(seeds)]
        for place, method in enumerate(("baseline_1", "roskd"))
    }
    return Outcome(corrected, GIVEN.copy(), answers)


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
@pytest.mark.parametrize("seeds", [1, 5])
def test_the_effect_is_each_methods_figure_now_minus_before(task, seeds):
    truth, before, now = truth_of(task), outcome(task, 0.5, seeds), outcome(task, 2.0, seeds, corrected=7)
    now.given[[3, 50, 199]] += 1
    rows = effect(truth, before, now, GROUPS, seed=0)
    assert {tuple(row) for row in rows} == {EFFECT_COLUMNS}
    assert {(row["method"], row["metric"]) for row in rows} == {
        (method, metric) for method in ("baseline_1", "roskd") for metric in RESAMPLED[task]
    }
    for row in rows:
        for state, found in (("before", before), ("now", now)):
            figures = [
                one["value"]
                for logits in found.answers[row["method"]]
                for one in figures_of(truth, logits)
                if (one["split"], one["metric"], one["class"]) == ("test", row["metric"], "")
            ]
            assert row[state] == pytest.approx(np.mean(figures), abs=1e-6)
        assert row["difference"] == pytest.approx(row["now"] - row["before"])
        assert row["low"] <= row["difference"] <= row["high"]
        assert row["low"] > (0 if row["metric"] == "auroc_macro" else -1)
        assert row["labels"] == 3
        assert (row["n_groups"], row["n_seeds"]) == (40, seeds)
        assert row["resampled"] == ("groups+seeds" if seeds == 5 else "groups")
    for metric in RESAMPLED[task]:
        own = [row for row in rows if row["metric"] == metric]
        assert [row["p_holm"] for row in own] == holm([row["p_value"] for row in own]).tolist()


def test_the_same_answers_make_no_difference():
    before = outcome("multiclass", 1.0)
    for row in effect(truth_of("multiclass"), before, replace(before, corrected=3), GROUPS, seed=0):
        assert (row["difference"], row["low"], row["high"], row["p_value"], row["labels"]) == (0, 0, 0, 1, 0)


def test_methods_that_were_not_measured_before_are_left_out():
    truth, before, now = truth_of("multiclass"), outcome("multiclass", 1.0), outcome("multiclass", 1.0)
    one = replace(before, answers={"roskd": before.answers["roskd"]})
    assert {row["method"] for row in effect(truth, one, now, GROUPS, seed=0)} == {"roskd"}
    assert effect(truth, replace(before, answers={}), now, GROUPS, seed=0) == []
    more = outcome("multiclass", 1.0, seeds=2)
    assert effect(truth, before, more, GROUPS, seed=0) == []


def test_labels_of_several_findings_count_by_image():
    before = replace(outcome("multilabel", 1.0), given=np.zeros((200, 3)))
    now = replace(before, given=before.given.copy())
    now.given[[4, 4, 9], [0, 1, 2]] = 1
    assert {row["labels"] for row in effect(truth_of("multilabel"), before, now, GROUPS, seed=0)} == {2}


def test_an_outcome_is_kept_in_a_file_and_half_a_file_is_none(tmp_path):
    path, kept = tmp_path / "outcome.npz", outcome("multiclass", 1.0, seeds=2, corrected=4)
    for logits in kept.answers["roskd"]:
        logits["train"] = np.zeros((5, 3), dtype=np.float32)
    write_outcome(path, kept)
    found = read_outcome(path)
    assert found is not None
    assert found.corrected == 4
    assert np.array_equal(found.given, GIVEN)
    assert {method: len(by_seed) for method, by_seed in found.answers.items()} == {"baseline_1": 2, "roskd": 2}
    for method, by_seed in kept.answers.items():
        for logits, again in zip(by_seed, found.answers[method], strict=True):
            assert {*again} == {"val", "test"}
            assert all(np.array_equal(again[split], logits[split]) for split in again)
    path.write_bytes(path.read_bytes()[:200])
    assert read_outcome(path) is None
    assert read_outcome(tmp_path / "none.npz") is None
