"""Class names that mean something to LaTeX, HTML, spreadsheets or templates, and very many classes."""

import json

import matplotlib as mpl
import numpy as np
import pandas as pd
from markupsafe import escape

from pipeline.common.class_names import require_class_names
from pipeline.common.layout import Layout
from pipeline.report import page, style
from pipeline.report.results import load
from tests.data.made_files import write_hashes

NAMES = ["$\\bad$", "<script>alert(1)</script>", "=SUM(1)", "{{7*7}}", "None", "1e5", "🩺", "x" * 150]


def rename(layout: Layout, classes: list[str]) -> None:
    """Call the miniature's classes A and B by the first two names; the others have no image."""
    for path in (layout.samples, layout.labels, layout.student_metrics, layout.suspects):
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        for column in {"label", "given", "published", "suggested", "class"} & set(table):
            table[column] = table[column].replace({"A": classes[0], "B": classes[1]})
        table.to_csv(path, index=False)
    prepared = json.loads(layout.data_report.read_text())
    prepared |= {"classes": classes, "counts": dict.fromkeys(classes, 6), "duplicates": []}
    layout.data_report.write_text(json.dumps(prepared))
    noise = json.loads(layout.noise.read_text())
    nominal = np.full((len(classes), len(classes)), 1 / len(classes)).tolist()
    transition = np.eye(len(classes), dtype=int).tolist()
    layout.noise.write_text(json.dumps(noise | {"classes": classes, "nominal": nominal, "transition": transition}))
    audit = json.loads(layout.audit_summary.read_text()) | {"estimated_counts": transition}
    layout.audit_summary.write_text(json.dumps(audit))
    for path in layout.predictions(0, "baseline_1", "last").parents[1].rglob("*.npz"):
        logits = np.zeros((4, len(classes)))
        np.savez(path, test_targets=np.array([0, 0, 1, 1]), test_logits=logits)
    write_hashes(layout)


def test_no_name_means_anything_to_a_page_or_a_plot(make_run):
    params, layout = make_run()
    require_class_names(NAMES, "test", listed=False)
    rename(layout, NAMES)
    page.build(params, layout)
    html = layout.report.read_text()
    assert "<script>alert" not in html
    assert ">49<" not in html
    assert [name for name in NAMES if str(escape(name)) not in html] == []


def test_three_hundred_classes_end_in_a_page_and_in_pictures_that_can_be_drawn(make_run):
    params, layout = make_run()
    classes = [f"class {number}" for number in range(300)]
    rename(layout, classes)
    page.build(params, layout)
    html = layout.report.read_text()
    assert "the 40 most frequent of 300 classes" in html
    results = load(params, layout)
    assert results.frequent(3) == [0, 1, 2]
    with mpl.rc_context(style.RC):
        sizes = {name: draw(results) for name, draw in page.FIGURES.items()}
    for name, figure in sizes.items():
        assert figure is None or max(figure.get_size_inches()) < 50, name
