"""Render docs/results.md from the tables in docs/results/: `python -m docs.render`, after copying new tables there.

`docs/results/sections.yaml` lists the sections in order: title, the command that made them, text, and the tables:
summary.csv, comparisons.csv or trials.csv of a study, text as the terminal showed it, or a study's folder, whose
figures and differences are then one table. `smoothing: true` shows every method without and with smoothing, `biases:
true` also macro F1 with class biases. `across: {head: folder, ...}` lists the methods once, a column for each study;
`{study: folder, where: {factor: value}}` in place of a folder takes some of its settings.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from ruamel.yaml import YAML

from pipeline.distillation.methods import CROSS_FITTED, METHODS, SUBJECT
from pipeline.evaluation.comparisons import COMPARISON_COLUMNS
from pipeline.report.findings import Difference

HERE = Path(__file__).parent / "results"
METRICS = {"f1_macro": "macro F1", "auroc_macro": "macro AUROC"}
BIASES = {"f1_macro_tuned": "macro F1, class biases"}
BEST = 5
ABOVE, BELOW = "▲", "▼"
FIXED = {"method", "checkpoint", "metric", "value", "low", "high", "n_groups", "n_seeds", "sd"}


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
    metrics = METRICS | (BIASES if section.get("biases") else {})
    if "command" in section:
        parts.append("```bash\n" + section["command"].strip() + "\n```")
    if "text" in section:
        parts.append(section["text"].strip())
    for name in section.get("tables", ()):
        path = folder / name
        if name.endswith(".txt"):
            parts.append("```text\n" + path.read_text(encoding="utf-8").rstrip() + "\n```")
        elif path.is_dir():
            parts.append(_joint(*_study(path), metrics))
        elif name.endswith("comparisons.csv"):
            parts.append(_comparisons(pd.read_csv(path)))
        elif name.endswith("trials.csv"):
            parts.append(_trials(pd.read_csv(path)))
        else:
            parts.append(_summary(pd.read_csv(path), smoothing=section.get("smoothing", False)))
    if "across" in section:
        parts.append(_across({str(head): _part(folder, one) for head, one in section["across"].items()}, metrics))
    return "\n\n".join(parts)


def _study(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    return pd.read_csv(folder / "summary.csv"), pd.read_csv(folder / "comparisons.csv")


def _part(folder: Path, one: str | dict[str, Any]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A study, or the settings of it whose factors have the values of `where`."""
    if isinstance(one, str):
        return _study(folder / one)
    summary, comparisons = _study(folder / one["study"])
    for factor, value in one["where"].items():
        summary, comparisons = (table.loc[table[factor].astype(str) == str(value)] for table in (summary, comparisons))
    if summary.empty:
        raise ValueError(f"{one['study']} has no setting {one['where']}")
    return summary, comparisons


def _summary(table: pd.DataFrame, *, smoothing: bool) -> str:
    """Means over seeds with standard deviation and 95 % interval; RoS-KD smoothed, the others' last epoch, or both."""
    table = table.loc[table["method"] != SUBJECT] if smoothing else _own(table)
    factors = _factors(table, FIXED)
    checkpoints = ["checkpoint"] if smoothing else []
    lines = [[*factors, "method", *(["weights of the student"] if smoothing else []), *METRICS.values()]]
    for key, rows in table.groupby([*factors, "method", *checkpoints], sort=False, dropna=False):
        figures = rows.set_index("metric")
        *values, method = key[: len(key) - len(checkpoints)]
        shown = [str({"last": "last epoch", "smoothed": "smoothed"}[str(key[-1])])] if smoothing else []
        cells = []
        for metric in METRICS:
            one: Any = figures.loc[metric]
            spread = f" ± {one['sd']:.3f}" if pd.notna(one["sd"]) else ""
            cells.append(f"{one['value']:.3f}{spread} [{one['low']:.3f}, {one['high']:.3f}]")
        lines.append([*map(str, values), METHODS[str(method)].title, *shown, *cells])
    return _markdown(lines) + f"\n\nMeans{_scope(table)}."


def _joint(summary: pd.DataFrame, comparisons: pd.DataFrame, metrics: Mapping[str, str] = METRICS) -> str:
    """Each method's figures, and how much RoS-KD, or where that is left out cross-fitting, is ahead of it."""
    subject = SUBJECT if SUBJECT in set(summary["method"]) else CROSS_FITTED
    factors = _factors(summary, FIXED)
    ahead = _verdicts(comparisons.loc[comparisons["method_a"] == subject], [*factors, "method_b", "metric"])
    short = METHODS[subject].title.partition(":")[0].partition(" (")[0]
    lines = [[*factors, "method", *metrics.values(), *(f"{short} ahead in {title}" for title in metrics.values())]]
    for key, rows in _own(summary).groupby([*factors, "method"], sort=False):
        figures = rows.set_index("metric")
        cells = [_interval(figures.loc[metric]) for metric in metrics]
        cells += [_verdict(ahead.get((*key, metric))) for metric in metrics]
        *values, method = key
        lines.append([*map(str, values), METHODS[str(method)].title, *cells])
    return _markdown(lines) + f"\n\nMeans{_scope(comparisons)}."


def _across(studies: Mapping[str, tuple[pd.DataFrame, pd.DataFrame]], metrics: Mapping[str, str]) -> str:
    """Each method's figures in every study, and where RoS-KD is shown to differ from it."""
    known = {name for summary, _ in studies.values() for name in _own(summary)["method"]}
    lines = [["method", *studies]]
    for method in (name for name in METHODS if name in known):
        lines.append([METHODS[method].title, *(_brief(*study, method, list(metrics)) for study in studies.values())])
    scope = _scope(pd.concat([comparisons for _, comparisons in studies.values()]))
    marks = f"{ABOVE}: RoS-KD is shown to be higher, {BELOW}: lower"
    titles = " / ".join(metrics.values())
    return f"{_markdown(lines)}\n\n{titles[0].upper()}{titles[1:]}: means{scope}. {marks}."


def _brief(summary: pd.DataFrame, comparisons: pd.DataFrame, method: str, metrics: Sequence[str]) -> str:
    own = _own(summary)
    figures = own.loc[own["method"] == method].set_index("metric")
    if figures.empty:
        return ""
    ahead = _verdicts(comparisons.loc[comparisons["method_a"] == SUBJECT], ["method_b", "metric"])
    marks = {"higher": ABOVE, "lower": BELOW}
    cells = []
    for metric in metrics:
        found = ahead.get((method, metric))
        cells.append(f"{figures.loc[metric, 'value']:.3f}{marks.get(found.verdict, '') if found else ''}")
    return " / ".join(cells)


def _own(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of each method's own checkpoint."""
    return table.loc[
        table["checkpoint"] == table["method"].map({name: one.checkpoint for name, one in METHODS.items()})
    ]


def _interval(figure: Any) -> str:
    return f"{figure['value']:.3f} [{figure['low']:.3f}, {figure['high']:.3f}]"


def _verdict(found: Difference | None) -> str:
    return "" if found is None else f"{found.text} {found.verdict}"


def _verdicts(table: pd.DataFrame, by: list[str]) -> dict[tuple[Any, ...], Difference]:
    """Differences by the values of some columns; where seeds were resampled, too, the rows that say so come last."""
    return {
        tuple(row[name] for name in by): Difference(row["difference"], row["low"], row["high"], row["p_holm"])
        for row in table.to_dict("records")
    }


def _comparisons(table: pd.DataFrame) -> str:
    """Differences of methods, each with the report's verdict and its p-value after Holm."""
    table = table.loc[table["metric"].isin(list(METRICS))]
    factors = _factors(table, set(COMPARISON_COLUMNS))
    lines = [[*factors, "difference", *(f"{title} (p after Holm)" for title in METRICS.values())]]
    for key, rows in table.groupby([*factors, "method_a", "method_b"], sort=False):
        *values, first, second = key
        cells = []
        for metric in METRICS:
            one: Any = rows.loc[rows["metric"] == metric].iloc[-1]
            difference = Difference(one["difference"], one["low"], one["high"], one["p_holm"])
            cells.append(f"{difference.text} {difference.verdict} ({difference.p_holm:.3f})")
        lines.append([*map(str, values), f"{METHODS[str(first)].title} minus {METHODS[str(second)].title}", *cells])
    return _markdown(lines) + f"\n\nDifferences{_scope(table)}."


def _trials(table: pd.DataFrame) -> str:
    """The best trials of a search by its validation figure, and the first, which has the settings searched from."""
    place = list(table.columns)
    searched = place[place.index("value") + 1 : place.index("val/f1_macro")]
    whole = table.loc[table["state"] == "complete"].sort_values("value", ascending=False, kind="stable")
    shown = pd.concat([whole.head(BEST), table.loc[[0]]]).drop_duplicates()
    figures = {f"{split}/{name}": f"{split} {title}" for split in ("val", "test") for name, title in METRICS.items()}
    lines = [["trial", *searched, *figures.values()]]
    for row in shown.to_dict("records"):
        values = [f"{row[name]:.3g}" if isinstance(row[name], float) else str(row[name]) for name in searched]
        lines.append([str(row["trial"]), *values, *(f"{row[name]:.3f}" for name in figures)])
    states = ", ".join(f"{count} {state}" for state, count in table["state"].value_counts().items())
    return _markdown(lines) + f"\n\nThe best {BEST} of {len(table)} trials ({states}) by validation, and the first."


def _factors(table: pd.DataFrame, others: set[str]) -> list[str]:
    return [name for name in table.columns if name not in others and table[name].nunique() > 1]


def _scope(table: pd.DataFrame) -> str:
    """Return what the means and intervals are over."""
    seeds, groups = (" or ".join(map(str, sorted(table[name].unique()))) for name in ("n_seeds", "n_groups"))
    over_seeds = "resampled" in table and "groups+seeds" in set(table["resampled"])
    seeds_too = "and the seeds" if over_seeds else "with the seeds fixed"
    return f" over {seeds} seeds; 95 % intervals over {groups} test groups {seeds_too}"


def _markdown(lines: list[list[str]]) -> str:
    return "\n".join(["| " + " | ".join(line) + " |" for line in [lines[0], ["---"] * len(lines[0]), *lines[1:]]])


if __name__ == "__main__":
    (HERE.parent / "results.md").write_text(render(), encoding="utf-8")
