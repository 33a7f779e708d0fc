"""What corrected labels did to every metric, for the report."""

from pipeline.distillation.methods import METHODS, SUBJECT
from pipeline.report.findings import COLUMNS, Difference, number
from pipeline.report.results import Results
from pipeline.report.tables import Row


def sentence(results: Results) -> str:
    """How many labels were corrected, and what they are compared with; empty without a corrected label."""
    count, rows = results.noise["corrected"], results.corrections
    if not count:
        return ""
    named = f"The corrections file names {count:,} {'label' if count == 1 else 'labels'}"
    if rows.empty:
        return (
            f"{named}. What they do is shown where the same experiment has run without them: empty the file, run "
            "make repro, put it back, and run it again."
        )
    changed = int(rows["labels"].iloc[0])
    return f"{named}; {changed:,} given labels differ from those of the run that is compared with, which had fewer."


def effects(results: Results) -> list[Row]:
    """One row per method: of each metric the figure before and now, and the difference with its verdict."""
    table = results.corrections
    rows = []
    for method in dict.fromkeys(table["method"]):
        cells = []
        for metric in COLUMNS:
            found = table.loc[(table["method"] == method) & (table["metric"] == metric)].to_dict("records")[0]
            difference = Difference(*(float(found[name]) for name in ("difference", "low", "high", "p_holm")))
            cells += [f"{number(found['before'])} → {number(found['now'])}", difference.text, difference.verdict]
        rows.append(Row(METHODS[method].title, cells, kind="ours" if method == SUBJECT else ""))
    return rows
