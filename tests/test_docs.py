"""docs/results.md is what its tables render to, and the renderer says what the tables hold."""

from pathlib import Path

import pandas as pd
import pytest

from docs import render


def test_the_page_of_results_is_rendered_from_its_tables():
    page = Path("docs/results.md").read_text(encoding="utf-8")
    assert page == render.render()
    assert len(page.splitlines()) <= 250


def test_a_study_is_rendered_with_spread_interval_and_verdict(tmp_path):
    figures = {"n_groups": 9, "n_seeds": 3, "noise.kind": "symmetric"}
    summary = [
        {"noise.rate": 0.2, "method": method, "checkpoint": checkpoint, "metric": metric, "value": value, "low": 0.1}
        | {"high": 0.9, "sd": 0.01}
        | figures
        for method, checkpoint, value in (
            ("baseline_3", "last", 0.5),
            ("baseline_3", "smoothed", 0.4),
            ("roskd", "smoothed", 0.6),
        )
        for metric in ("f1_macro", "auroc_macro")
    ]
    pairs = [
        {"noise.rate": 0.2, "method_a": "roskd", "method_b": other, "metric": metric, "difference": 0.1}
        | {"low": low, "high": 0.2, "p_value": 0.02, "p_holm": p_holm, "resampled": "groups"}
        | figures
        for other, p_holm in (("baseline_5", 0.06), ("baseline_3", 0.04))
        for metric, low in (("f1_macro", 0.05), ("auroc_macro", -0.05))
    ]
    other = [row | {"noise.rate": 0.4} for row in summary]
    pd.DataFrame(summary + other).to_csv(tmp_path / "summary.csv", index=False)
    pd.DataFrame(pairs).to_csv(tmp_path / "comparisons.csv", index=False)
    (tmp_path / "sections.yaml").write_text(
        "title: '# T'\ntext: X\nsections:\n- {title: S, command: make it, tables: [summary.csv, comparisons.csv]}\n"
    )
    lines = render.render(tmp_path).splitlines()
    assert lines[:8] == ["# T", "", "X", "", "## S", "", "```bash", "make it"]
    assert "| noise.rate | method | macro F1 | macro AUROC |" in lines
    assert "| 0.4 | RoS-KD (V, smoothed) | 0.600 ± 0.010 [0.100, 0.900] | 0.600 ± 0.010 [0.100, 0.900] |" in lines
    assert sum("Baseline III" in line for line in lines) == 3  # at two rates, and once compared
    assert "Means over 3 seeds; 95 % intervals over 9 test groups with the seeds fixed." in lines
    cells = "+0.100 [+0.050, +0.200] higher (0.040) | +0.100 [-0.050, +0.200] not shown (0.040) |"
    assert lines[-3] == f"| RoS-KD (V, smoothed) minus Baseline III (equal weights, all data) | {cells}"
    cells = "+0.100 [+0.050, +0.200] not shown (0.060) | +0.100 [-0.050, +0.200] not shown (0.060) |"
    assert lines[-4] == f"| RoS-KD (V, smoothed) minus Baseline V (stochastic) | {cells}", "p after Holm decides, too"
    (tmp_path / "sections.yaml").write_text(
        "title: '# T'\ntext: X\nsections:\n- {title: S, smoothing: true, tables: [summary.csv]}\n"
    )
    lines = render.render(tmp_path).splitlines()
    assert "| noise.rate | method | weights of the student | macro F1 | macro AUROC |" in lines
    cells = "0.500 ± 0.010 [0.100, 0.900] | 0.500 ± 0.010 [0.100, 0.900] |"
    assert f"| 0.4 | Baseline III (equal weights, all data) | last epoch | {cells}" in lines
    assert not any("RoS-KD" in line for line in lines), "Baseline V with smoothed weights is RoS-KD"


def test_a_study_of_many_seeds_is_one_table_with_what_roskd_is_ahead_by(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    figures = {"n_groups": 9, "n_seeds": 10, "sd": 0.01, "low": 0.1, "high": 0.9}
    pd.DataFrame(
        {"method": method, "checkpoint": checkpoint, "metric": metric, "value": value} | figures
        for method, checkpoint, value in (("elr", "last", 0.5), ("elr", "smoothed", 0.4), ("roskd", "smoothed", 0.6))
        for metric in ("f1_macro", "auroc_macro")
    ).to_csv(folder / "summary.csv", index=False)
    pd.DataFrame(
        {"method_a": "roskd", "method_b": "elr", "metric": metric, "difference": 0.1, "low": low, "high": 0.2}
        | {"p_value": 0.01, "p_holm": 0.02, "n_groups": 9, "n_seeds": 10, "resampled": resampled}
        for metric in ("f1_macro", "auroc_macro")
        for resampled, low in (("groups", 0.05), ("groups+seeds", -0.05 if metric == "auroc_macro" else 0.04))
    ).to_csv(folder / "comparisons.csv", index=False)
    (tmp_path / "sections.yaml").write_text("title: '# T'\ntext: X\nsections:\n- {title: S, tables: [mine]}\n")
    lines = render.render(tmp_path).splitlines()
    assert "| method | macro F1 | macro AUROC | RoS-KD ahead in macro F1 | RoS-KD ahead in macro AUROC |" in lines
    cells = "0.500 [0.100, 0.900] | 0.500 [0.100, 0.900] | +0.100 [+0.040, +0.200] higher | +0.100 [-0.050, +0.200]"
    assert f"| Early-learning regularisation | {cells} not shown |" in lines
    assert "| RoS-KD (V, smoothed) | 0.600 [0.100, 0.900] | 0.600 [0.100, 0.900] |  |  |" in lines
    assert lines[-1] == "Means over 10 seeds; 95 % intervals over 9 test groups and the seeds."


RATES = {"clean": 0.0, "noisy": 0.4}


def test_several_studies_are_one_table_with_a_mark_where_roskd_differs(tmp_path):
    for name, seeds, methods in (("clean", 5, ("elr", "roskd")), ("noisy", 10, ("elr", "gce", "roskd"))):
        (tmp_path / name).mkdir()
        pd.DataFrame(
            {"method": method, "checkpoint": "smoothed" if method == "roskd" else "last", "metric": metric}
            | {"value": 0.5 + 0.1 * place, "low": 0.1, "high": 0.9, "n_groups": 9, "n_seeds": seeds, "sd": 0.01}
            for place, method in enumerate(methods)
            for metric in ("f1_macro", "auroc_macro", "f1_macro_tuned")
        ).to_csv(tmp_path / name / "summary.csv", index=False)
        pd.DataFrame(
            {"method_a": "roskd", "method_b": other, "metric": metric, "difference": sign * 0.1}
            | {"low": sign * 0.1 - width, "high": sign * 0.1 + width, "p_value": 0.01, "p_holm": 0.02}
            | {"n_groups": 9, "n_seeds": seeds, "resampled": "groups+seeds"}
            for other, sign in (("elr", 1), ("gce", -1))
            for metric, width in (("f1_macro", 0.05), ("auroc_macro", 0.2), ("f1_macro_tuned", 0.05))
        ).to_csv(tmp_path / name / "comparisons.csv", index=False)
    (tmp_path / "rates").mkdir()
    for name in ("summary.csv", "comparisons.csv"):
        parts = [pd.read_csv(tmp_path / one / name).assign(**{"noise.rate": rate}) for one, rate in RATES.items()]
        pd.concat(parts).to_csv(tmp_path / "rates" / name, index=False)
    (tmp_path / "sections.yaml").write_text(
        "title: '# T'\ntext: X\nsections:\n- {title: S, across: {no noise: clean, noise: noisy}}\n"
        "- {title: P, across: {1: {study: rates, where: {noise.rate: 0.0}},\n"
        "                      2: {study: rates, where: {noise.rate: 0.4}}}}\n"
        "- {title: B, biases: true, tables: [noisy], across: {noise: noisy}}\n"
    )
    lines = render.render(tmp_path).splitlines()
    assert lines[6:11] == [
        "| method | no noise | noise |",
        "| --- | --- | --- |",
        "| RoS-KD (V, smoothed) | 0.600 / 0.600 | 0.700 / 0.700 |",
        "| Generalised cross-entropy |  | 0.600▼ / 0.600 |",
        "| Early-learning regularisation | 0.500▲ / 0.500 | 0.500▲ / 0.500 |",
    ]
    assert lines[12] == (
        "Macro F1 / macro AUROC: means over 5 or 10 seeds; 95 % intervals over 9 test groups and the seeds. "
        "▲: RoS-KD is shown to be higher, ▼: lower."
    )
    by_rate = lines.index("## P") + 2
    assert lines[by_rate] == "| method | 1 | 2 |"
    assert lines[by_rate + 1 : by_rate + 7] == lines[7:13]
    assert "| Early-learning regularisation | 0.500▲ / 0.500 / 0.500▲ |" in lines, "with class biases"
    (tmp_path / "sections.yaml").write_text(
        "title: '# T'\ntext: X\nsections:\n- {title: S, across: {1: {study: rates, where: {noise.rate: 0.3}}}}\n"
    )
    with pytest.raises(ValueError, match=r"rates has no setting \{'noise\.rate': 0\.3\}"):
        render.render(tmp_path)
    heads = ["macro F1", "macro AUROC", "macro F1, class biases"]
    assert f"| method | {' | '.join(heads)} | {' | '.join(f'RoS-KD ahead in {head}' for head in heads)} |" in lines


def test_a_search_is_rendered_with_its_best_trials_and_the_first(tmp_path):
    values = [0.1, 0.4, 0.2, 0.7, 0.3, 0.5, 0.6]
    rows = [
        {"unit": number, "trial": number, "state": "pruned" if number == 3 else "complete", "value": value}
        | {"distillation.tau": 0.25 * number, "training.balance": "none"}
        | {f"{split}/{name}": value for split in ("val", "test") for name in ("f1_macro", "auroc_macro")}
        for number, value in enumerate(values)
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "trials.csv", index=False)
    (tmp_path / "sections.yaml").write_text("title: '# T'\ntext: X\nsections:\n- {title: S, tables: [trials.csv]}\n")
    lines = render.render(tmp_path).splitlines()
    assert lines[6].startswith("| trial | distillation.tau | training.balance | val macro F1 | val macro AUROC | test")
    assert [line.split(" | ")[0] for line in lines[8:14]] == ["| 6", "| 5", "| 1", "| 4", "| 2", "| 0"]
    assert lines[8] == "| 6 | 1.5 | none | 0.600 | 0.600 | 0.600 | 0.600 |"
    assert lines[-1] == "The best 5 of 7 trials (6 complete, 1 pruned) by validation, and the first."
