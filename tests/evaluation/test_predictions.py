"""Figures of networks from what they answered, and the files that hold the answers."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.common.errors import UserError
from pipeline.common.layout import CHECKPOINTS
from pipeline.evaluation.bootstrap import draw
from pipeline.evaluation.metrics import evaluate
from pipeline.evaluation.predictions import EVALUATED, RESAMPLED, figures_of, read_logits, resampled, write_logits
from pipeline.evaluation.tuning import tune_biases, tune_thresholds
from tests.evaluation.judged import answers_to, truth_of


def test_a_network_is_measured_on_validation_and_test():
    truth = truth_of("multiclass")
    logits = answers_to(truth, 0)
    biases = tune_biases(logits["val"], truth.targets("val"))
    assert (biases != tune_biases(logits["test"], truth.targets("test"))).all()
    rows = figures_of(truth, logits)
    assert list(rows[0]) == ["split", "metric", "class", "value"]
    assert EVALUATED == ("val", "test")
    for split in EVALUATED:
        expected = evaluate("multiclass", logits[split], truth.targets(split), truth.classes, biases=biases)
        own = pd.DataFrame([row for row in rows if row["split"] == split]).drop(columns="split")
        pd.testing.assert_frame_equal(own, expected)


def test_thresholds_come_from_validation_alone():
    truth = truth_of("multilabel")
    logits = answers_to(truth, 0, strength=2.0)
    tuned = tune_thresholds(logits["val"], truth.targets("val"))
    assert (tuned != tune_thresholds(logits["test"], truth.targets("test"))).all()
    for split in EVALUATED:
        expected = evaluate("multilabel", logits[split], truth.targets(split), truth.classes, tuned)
        found = {
            (row["metric"], row["class"]): row["value"] for row in figures_of(truth, logits) if row["split"] == split
        }
        assert found == {(row.metric, row["class"]): pytest.approx(row.value) for _, row in expected.iterrows()}
        assert [found["threshold", name] for name in truth.classes] == tuned.tolist()


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_the_first_resample_has_the_figures_of_each_seeds_network_on_test(task):
    truth = truth_of(task)
    by_seed = [answers_to(truth, seed) for seed in (0, 1)]
    draws = draw(np.arange(80), 2, np.random.default_rng(0), resamples=5)
    values = resampled(truth, by_seed, draws)
    assert tuple(values) == RESAMPLED[task]
    for number, logits in enumerate(by_seed):
        expected = {
            row["metric"]: row["value"]
            for row in figures_of(truth, logits)
            if row["split"] == "test" and row["class"] == ""
        }
        for metric, found in values.items():
            assert found.shape == (6, 2)
            assert found[0, number] == pytest.approx(expected[metric])


def test_answers_are_kept_by_checkpoint_and_split(tmp_path):
    truth = truth_of("multiclass")
    answers = {name: answers_to(truth, seed) for seed, name in enumerate(CHECKPOINTS)}
    write_logits(tmp_path / "new/predictions.npz", answers)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["predictions.npz"]
    found = read_logits(tmp_path / "new/predictions.npz")
    assert {name: list(splits) for name, splits in found.items()} == {key: ["val", "test"] for key in answers}
    for name, splits in answers.items():
        for split, logits in splits.items():
            assert found[name][split].dtype == np.float32
            np.testing.assert_array_equal(found[name][split], logits)


@pytest.mark.parametrize("kept", [None, 0, 100, 500])
def test_a_file_that_is_missing_or_cut_off_is_refused_by_name(tmp_path, kept):
    path: Path = tmp_path / "predictions.npz"
    if kept is not None:
        write_logits(path, {"last": answers_to(truth_of("multiclass"), 0)})
        path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(UserError, match=r"predictions\.npz: cannot be read .*Run make repro again, which makes it"):
        read_logits(path)


def test_an_altered_file_is_refused_by_name(tmp_path):
    path = tmp_path / "predictions.npz"
    write_logits(path, {"last": answers_to(truth_of("multiclass"), 0)})
    content = bytearray(path.read_bytes())
    content[300] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"predictions\.npz: cannot be read"):
        read_logits(path)
