"""Stage evaluate: which comparisons are written, on which resamples, and in which families they are corrected."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.common import layout as artifacts
from pipeline.data.prepared import Prepared
from pipeline.distillation.methods import RUNS
from pipeline.evaluation.bootstrap import METRICS
from pipeline.evaluation.comparisons import holm
from pipeline.params.file import read_yaml, validate
from pipeline.params.tree import Params
from pipeline.stages import evaluate

INGREDIENTS = {("baseline_3_same", "baseline_3"), ("baseline_5", "baseline_3_same")}
N = 120


def finished(seeds: list[int]) -> tuple[Params, Prepared, evaluate.Students]:
    """Two classes, half of the samples test, and networks that are the better the later their method stands."""
    rng = np.random.default_rng(0)
    targets = rng.integers(2, size=N)
    params = validate(read_yaml(Path("params.yaml")) | {"task": "multiclass", "seeds": seeds}, "test")
    prepared = Prepared(
        task="multiclass",
        classes=("A", "B"),
        images=np.zeros((N, 1, 1, 1), np.uint8),
        sample_ids=np.arange(N).astype(str),
        groups=(np.arange(N) // 2).astype(str),
        split=np.repeat(["val", "test"], N // 2),
        given=targets,
        published=targets,
    )
    keys = [(name, checkpoint) for name in RUNS for checkpoint in evaluate.CHECKPOINTS] + [("roskd", "smoothed")]
    students = {}
    for strength, key in enumerate(keys):
        logits = {seed: rng.normal(size=(N, 2)) + strength / 20 * np.eye(2)[targets] for seed in seeds}
        students[key] = {seed: {"val": z[: N // 2], "test": z[N // 2 :]} for seed, z in logits.items()}
    return params, prepared, students


@pytest.mark.parametrize(
    ("seeds", "kinds"), [([0, 1], ["groups"]), ([0, 1, 2, 3, 4], ["groups", "groups+seeds"])], ids=["two", "five"]
)
def test_families_of_comparisons(tmp_path, monkeypatch, seeds, kinds):
    params, prepared, students = finished(seeds)
    monkeypatch.chdir(tmp_path)
    artifacts.COMPARISONS.parent.mkdir(parents=True)
    evaluate._write_statistics(params, prepared, students)
    table = pd.read_csv(artifacts.COMPARISONS)
    assert list(table["resampled"].unique()) == kinds
    assert set(table["n_seeds"]) == {len(seeds)}
    assert set(table["n_groups"]) == {N // 4}
    families = table.groupby(["resampled", "metric", table["method_a"] == "roskd"])
    assert len(families) == len(kinds) * len(METRICS) * 2
    for (_, _, is_roskd), rows in families:
        pairs = set(zip(rows["method_a"], rows["method_b"], strict=True))
        assert pairs == ({("roskd", name) for name in RUNS} if is_roskd else INGREDIENTS)
        np.testing.assert_allclose(rows["p_holm"], holm(rows["p_value"].to_numpy()))
    assert (table["p_holm"] > table["p_value"]).any()
    by_kind = [rows["difference"].to_numpy() for _, rows in table.groupby("resampled")]
    np.testing.assert_array_equal(by_kind[0], by_kind[-1])
    intervals = pd.read_csv(artifacts.INTERVALS)
    assert len(intervals) == len(students) * len(METRICS)
