"""Rows that are differences of methods on the default setting."""

import pandas as pd
import pytest

from benchmarks import default_seeds, grids, noise_gap
from pipeline.study.tables import COMPARISONS, SUMMARY

PAIRS = [("roskd", "baseline_1", 0.12), ("roskd", "baseline_2", -0.01), ("roskd", "baseline_3", 0.03)]


def comparisons(pairs: list[tuple[str, str, float]]) -> pd.DataFrame:
    """A difference in F1 of each pair, first with the seeds fixed, then with them resampled, and one in AUROC."""
    return pd.DataFrame(
        {"subsets.overlap": "0.4", "method_a": a, "method_b": b, "metric": metric, "resampled": kind,
         "difference": value, "low": value - width, "high": value + width}
        for kind, width in (("groups", 0.1), ("groups+seeds", 0.2))
        for a, b, value in pairs
        for metric in ("f1_macro", "auroc_macro")
    )  # fmt: skip


def test_roskd_is_compared_with_each_baseline_over_seeds(monkeypatch, make_params):
    asked = []

    def grid(params, methods, seeds):
        asked.append((list(methods), list(seeds)))
        return pd.DataFrame(), comparisons(PAIRS)

    monkeypatch.setattr(default_seeds, "default_grid", grid)
    rows = default_seeds.measure(make_params())
    assert asked == [(["baseline_1", "baseline_2", "baseline_3", "roskd"], [0, 1, 2, 3, 4])]
    assert [(row.name, row.median, row.met) for row in rows] == [
        ("default_seeds_baseline_1", 0.12, True),
        ("default_seeds_baseline_2", -0.01, False),
        ("default_seeds_baseline_3", 0.03, True),
    ]
    assert (rows[0].low, rows[0].high) == pytest.approx((-0.08, 0.32)), "over groups and seeds"


@pytest.mark.parametrize(("clean", "met"), [(0.84, False), (0.9, True), (0.98, False)])
def test_the_noise_gap(monkeypatch, make_params, clean, met):
    summary = pd.DataFrame(
        {"method": method, "checkpoint": checkpoint, "metric": "f1_macro", "value": value, "low": 0.8, "high": 0.99}
        for method, checkpoint, value in (
            ("baseline_1", "last", 0.6), ("baseline_1_published", "smoothed", 0.1),
            ("baseline_1_published", "last", clean),
        )
    )  # fmt: skip
    found = comparisons([("baseline_1_published", "baseline_1", 0.3)])
    monkeypatch.setattr(noise_gap, "default_grid", lambda params, methods, seeds: (summary, found))
    rows = noise_gap.measure(make_params())
    assert [(row.name, row.median, row.met) for row in rows] == [
        ("phantom_clean", clean, met),
        ("noise_gap", 0.3, True),
    ]


def test_the_grid_is_that_of_the_default_setting(monkeypatch, make_params):
    commands = []

    def copied(project, settings):
        assert settings["study"]["grids"]["bench"]["vary"] == [{"subsets.overlap": [0.3]}]
        assert (settings["seeds"], settings["tracking"]) == ([0, 1], {"enabled": False})

    def run(project, *command, **variables):
        commands.append(command[2:])
        folder = project / "artifacts/studies/bench"
        folder.mkdir(parents=True, exist_ok=True)
        for name in (SUMMARY, COMPARISONS):
            pd.DataFrame({"subsets.overlap": [0.3], "from": [name]}).to_csv(folder / name, index=False)
        return 0.0

    monkeypatch.setattr(grids, "copy_project", copied)
    monkeypatch.setattr(grids, "wall_seconds", run)
    summary, found = grids.default_grid(make_params(subsets={"overlap": 0.3}), ["baseline_1", "roskd"], (0, 1))
    assert [command[-1] for command in commands[:4]] == ["prepare", "split", "noise", "subsets"]
    assert commands[4][:3] == ("pipeline.study", "run", "bench")
    assert (summary["from"].item(), found["from"].item()) == (SUMMARY, COMPARISONS)
