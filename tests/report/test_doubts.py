"""The report's section on doubtful labels: its sentences, the sheet of images, and the estimated noise."""

import json
import re
from dataclasses import replace
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from pipeline.report import doubts, page, style
from pipeline.report.results import Results, load
from tests.data.made_files import write_hashes

UNJUDGED = (
    "No sample has a teacher that never saw it, so that no label could be judged. That takes a method with teachers "
    "on subsets, two teachers at least, and a subsets.overlap below 1."
)


@pytest.fixture
def results(make_run) -> Results:
    return load(*make_run())


def with_audit(results: Results, **changes: Any) -> Results:
    """Other figures; None takes one away."""
    found = {name: value for name, value in (results.audit | changes).items() if value is not None}
    return replace(results, audit=found)


def test_the_sentences_say_who_judged_how_many_are_doubted_and_how_good_the_order_is(results):
    assert doubts.sentences(results) == [
        "Each label was judged by the teachers that did not train on its image, 1.5 on average. They take 25.0% of the "
        "labels of training and validation to be wrong.",
        "2 samples have no such teacher and were left out; a lower subsets.overlap gives them one.",
        "20.0% are known to be wrong, since noise was injected: 60% of the first 50, 40% of the first 100 are among "
        "them. The average precision of the order is 0.750; at random it is 0.200.",
    ]


def test_what_is_not_known_is_not_said(results):
    everybody = {"train": 0, "val": 0}
    (only,) = doubts.sentences(with_audit(results, known=None, without_unseen_teacher=everybody))
    assert only.endswith("to be wrong.")
    assert doubts.rivals(with_audit(results, known=None)) == []
    known = {name: value for name, value in results.audit["known"].items() if name != "on_train"}
    assert doubts.rivals(with_audit(results, known=known)) == []


def test_fewer_labels_than_the_first_fifty_have_no_precision_among_them(results):
    known = results.audit["known"] | {"precision_at": {}}
    assert doubts.sentences(with_audit(results, known=known))[-1] == (
        "20.0% are known to be wrong, since noise was injected. The average precision of the order is 0.750; at random "
        "it is 0.200."
    )


def test_the_rivals_are_the_orders_that_the_training_split_has(results):
    assert [value for _, value in doubts.rivals(results)] == ["0.800", "0.700", "0.600", "0.500", "0.400", "0.300"]
    assert [head.split(" ")[0] for head, _ in doubts.rivals(results)] == [
        "Votes", "Votes", "Baseline", "Epochs", "Baseline", "At",
    ]  # fmt: skip


def test_each_class_has_its_wrong_labels_and_how_well_they_are_found(results):
    assert doubts.classes(results) == [("B", ["1", "0.875", "0.250"])]
    assert doubts.classes(with_audit(results, known=None)) == []


def test_the_curves_go_along_each_order_and_end_where_all_labels_are_checked(results):
    figure = doubts.curves(results)
    assert figure is not None
    for panel, column in zip(figure.axes, ("precision", "recall"), strict=True):
        lines = {str(line.get_label()): np.asarray(line.get_xydata()).tolist() for line in panel.lines}
        own = results.orders.loc[results.orders["order"] == "score", ["checked", column]].to_numpy().tolist()
        assert lines["Votes and AUM together (score)"] == own
        assert [*lines][-1] == "At random"
        assert lines["At random"] == ([[1, 0.25], [6, 0.25]] if column == "precision" else [[1, 1 / 6], [6, 1]])
        assert "labels checked" in panel.get_xlabel()
    assert doubts.curves(replace(results, orders=results.orders.head(0))) is None


def tiles(figure: Figure) -> list[tuple[str, str | None]]:
    """The text below each image of the sheet, and the colour of its frame."""
    (panel,) = figure.axes
    frames = {
        (patch.get_x(), patch.get_y()): to_hex(patch.get_edgecolor()).upper()
        for patch in panel.patches
        if isinstance(patch, Rectangle)
    }
    corners = [(left, top) for left, _, _, top in (image.get_extent() for image in panel.images)]
    return [(text.get_text(), frames.get(corner)) for text, corner in zip(panel.texts, corners, strict=True)]


def test_the_sheet_shows_each_image_once_with_both_labels_and_frames_what_noise_changed(results):
    figure = doubts.sheet(results)
    assert figure is not None
    assert results.images is not None
    assert tiles(figure) == [("given A\n→ B", None), ("given B\n→ A", style.CHANGED), ("given A\n→ A", None)]
    shown = [np.asarray(image.get_array()) for image in figure.axes[0].images]
    for pixels, row in zip(shown, (6, 0, 1), strict=True):
        assert np.array_equal(pixels, results.images[row, ..., 0])


def test_the_sheet_of_several_findings_names_the_most_doubtful_one(make_run):
    figure = doubts.sheet(load(*make_run("multilabel")))
    assert figure is not None
    assert tiles(figure) == [("given none\n→ B", None), ("given none\n→ A", style.CHANGED), ("given B\n→ B", None)]


def test_the_sheet_has_twenty_images_in_rows_of_ten(results):
    ids = [f"sample {i}" for i in range(25)]
    samples = pd.DataFrame({"sample_id": ids, "flipped": 0})
    table = pd.DataFrame({"sample_id": ids, "given": "x" * 40, "suggested": "B"})
    np.save(results.layout.images, np.full((25, 4, 4, 3), 7, dtype=np.uint8))
    write_hashes(results.layout)
    figure = doubts.sheet(replace(results, samples=samples, suspects=table))
    assert figure is not None
    panel = figure.axes[0]
    assert [image.get_extent()[0] for image in panel.images] == [*range(10)] * 2
    assert len({image.get_extent()[3] for image in panel.images}) == 2
    assert panel.texts[0].get_text() == f"given {'x' * 17}…\n→ B"
    assert np.asarray(panel.images[0].get_array()).shape == (4, 4, 3)


def test_without_images_or_suspects_there_is_no_sheet(results):
    assert doubts.sheet(replace(results, suspects=results.suspects.head(0))) is None
    results.layout.images.unlink()
    assert doubts.sheet(results) is None


def test_the_estimated_noise_has_a_row_for_each_true_class(results):
    figure = doubts.matrix(with_audit(results, known=None))
    assert figure is not None
    (panel,) = figure.axes
    assert panel.get_title() == "Estimated from the votes"
    assert [label.get_text() for label in panel.get_yticklabels()] == ["A (n = 3)", "B (n = 3)"]
    assert [label.get_text() for label in panel.get_xticklabels()] == ["A", "B"]
    assert {(text.get_position(), text.get_text()) for text in panel.texts} == {
        ((0, 0), "67 %\n(2)"), ((1, 0), "33 %\n(1)"), ((1, 1), "100 %\n(3)"),
    }  # fmt: skip


def test_injected_noise_stands_beside_the_estimate(results):
    """Training and validation; of the four labels A one was given as B."""
    figure = doubts.matrix(results)
    assert figure is not None
    injected, estimated = figure.axes
    assert [panel.get_title() for panel in figure.axes] == ["Injected noise", "Estimated from the votes"]
    assert {(text.get_position(), text.get_text()) for text in injected.texts} == {
        ((0, 0), "75 %\n(3)"), ((1, 0), "25 %\n(1)"), ((1, 1), "100 %\n(4)"),
    }  # fmt: skip
    assert injected.get_ylabel() == "published label (n images)"
    assert estimated.get_ylabel() == "estimated true label (n images)"


def test_several_findings_have_no_matrix(make_run):
    assert doubts.matrix(load(*make_run("multilabel"))) is None


@pytest.mark.parametrize("counts", [[[0, 0], [0, 6]], [[0, 0], [0, 0]]])
def test_a_class_that_nobody_is_taken_to_have_has_an_empty_row(results, counts):
    figure = doubts.matrix(with_audit(results, estimated_counts=counts))
    assert figure is not None
    assert "A (n = 0)" in [label.get_text() for label in figure.axes[1].get_yticklabels()]
    with mpl.rc_context(style.RC):
        assert style.png(figure).startswith(b"\x89PNG")


def section(results: Results) -> str:
    """The section on doubtful labels as HTML, with empty pictures where there is something to draw."""
    drawn = {name: page.FIGURES[name](results) for name in ("suspects", "estimated_noise", "orders")}
    pictures = {name: page.Embedded(f"data:{name}", 1) for name, figure in drawn.items() if figure is not None}
    html = page.render(results, pictures, "page.html.j2")
    return html[html.index('<h2 id="labels">') : html.index('<h2 id="data">')]


def test_the_section_leads_to_the_page_and_shows_both_figures_and_the_orders(results):
    html = section(results)
    assert 'href="../audit/index.html"' in html
    assert re.findall('src="data:([^"]*)"', html) == ["suspects", "estimated_noise", "orders"]
    assert "Framed: noise changed this label." in html
    assert "Left: of the training and validation images of the row's published class" in html
    assert "<td>0.875</td>" in html
    assert "<td>0.700</td>" in html
    text = re.sub(r"<[^>]+>", "", html)
    assert all(sentence in text for sentence in doubts.sentences(results))


def test_where_no_noise_is_known_nothing_is_framed_or_compared(results):
    html = section(replace(with_audit(results, known=None), orders=results.orders.head(0)))
    assert "Framed" not in html
    assert "<table>" not in html
    assert re.findall('src="data:([^"]*)"', html) == ["suspects", "estimated_noise"]


@pytest.mark.parametrize("audited", [True, False])
def test_without_a_judged_label_the_section_says_so_and_leads_nowhere(results, audited):
    """Because the stage found no teacher, or did not run."""
    layout = results.layout
    if audited:
        layout.audit_summary.write_text(
            json.dumps({"samples": 8, "without_unseen_teacher": {"train": 6, "val": 2}, "votes": 0.0})
        )
        layout.suspects.write_text("sample_id,group_id,split,votes,given,suggested,score,rank\n")
    else:
        layout.audit_summary.unlink()
        layout.suspects.unlink()
    layout.orders.unlink()
    now = load(results.params, layout)
    assert doubts.sentences(now) == [UNJUDGED]
    assert doubts.rivals(now) == []
    assert len(doubts.suspects(now)) == 0
    assert doubts.sheet(now) is doubts.matrix(now) is None
    html = section(now)
    assert UNJUDGED in html
    assert "href=" not in html
    assert "<figure>" not in html
