"""Render docs/results.md from the tables in docs/results/: `python docs/render.py`, after copying new tables there.

`docs/results/sections.yaml` lists the sections in order: title, text, the command that made them, and the tables
(summary.csv or comparisons.csv of a study, or text as the terminal showed it).
"""

from pathlib import Path
from typing import Any

import pandas as pd
from ruamel.yaml import YAML

from pipeline.distillation.methods import reported_checkpoint, title_of

HERE = Path(__file__).parent / "results"
METRICS = {"f1_macro": "macro F1", "auroc_macro": "macro AUROC"}
FIXED = {"method", "checkpoint", "metric", "value", "low", "high", "n_groups", "n_seeds", "sd"}
PAIR = {
    "method_a",
    "method_b",
    "metric",
    "difference",
    "low",
    "high",
    "p_value",
    "p_holm",
    "n_groups",
    "n_seeds",
    "resampled",
}


def render(folder: Path = HERE) -> str:
    """Return the page."""
    sections = YAML(typ="safe").load((folder / "sections.yaml").read_text(encoding="utf-8"))
    return (
        "\n\n".join(
            [sections["title"], sections["text"].strip(), *(_section(one, folder) for one in sections["sections"])]
        )
        + "\n"
    )


def _section(section: dict[str, Any], folder: Path) -> str:
    parts = [f"## {section['title']}"]
    if "command" in section:
        parts.append("```bash\n" + section["command"].strip() + "\n```")
    if "text" in section:
        parts.append(section["text"].strip())
    for name in section.get("tables", ()):
        path = folder / name
        if name.endswith(".txt"):
            parts.append("```text\n" + path.read_text(encoding="utf-8").rstrip() + "\n```")
        elif name.endswith("comparisons.csv"):
            parts.append(_comparisons(pd.read_csv(path)))
        else:
            parts.append(_summary(pd.read_csv(path)))
    return "\n\n".join(parts)


def _summary(table: pd.DataFrame) -> str:
    """Means over seeds with standard deviation and 95 % interval; RoS-KD smoothed, the others' last epoch."""
    table = table.loc[table["checkpoint"] == table["method"].map(reported_checkpoint)]
    factors = [name for name in table.columns if name not in FIXED and table[name].nunique() > 1]
    lines = [[*factors, "method", *METRICS.values()]]
    for key, rows in table.groupby([*factors, "method"], sort=False, dropna=False):
        figures = rows.set_index("metric")
        *values, method = key
        cells = []
        for metric in METRICS:
            one: Any = figures.loc[metric]
            spread = f" ± {one['sd']:.3f}" if pd.notna(one["sd"]) else ""
            cells.append(f"{one['value']:.3f}{spread} [{one['low']:.3f}, {one['high']:.3f}]")
        lines.append([*map(str, values), title_of(method), *cells])
    return _markdown(lines)


def _comparisons(table: pd.DataFrame) -> str:
    """RoS-KD minus each method, marked where the interval excludes 0."""
    table = table.loc[table["metric"].isin(list(METRICS))]
    factors = [name for name in table.columns if name not in PAIR and table[name].nunique() > 1]
    lines = [[*factors, "RoS-KD minus", *(f"{title} (p after Holm)" for title in METRICS.values())]]
    for key, rows in table.groupby([*factors, "method_b"], sort=False):
        *values, method = key
        cells = []
        for metric in METRICS:
            one: Any = rows.loc[rows["metric"] == metric].iloc[0]
            told = "not shown" if one["low"] <= 0 <= one["high"] else ("higher" if one["low"] > 0 else "lower")
            cells.append(
                f"{one['difference']:+.3f} [{one['low']:+.3f}, {one['high']:+.3f}] {told} ({one['p_holm']:.3f})"
            )
        lines.append([*map(str, values), title_of(method), *cells])
    return _markdown(lines)


def _markdown(lines: list[list[str]]) -> str:
    return "\n".join(["| " + " | ".join(line) + " |" for line in [lines[0], ["---"] * len(lines[0]), *lines[1:]]])


if __name__ == "__main__":
    (HERE.parent / "results.md").write_text(render(), encoding="utf-8")
