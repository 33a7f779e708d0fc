"""The report's part on corruptions and other sources: tables, sentences, figures, and what is left out."""

from collections.abc import Callable, Sequence

import matplotlib as mpl
import numpy as np
import pytest

from pipeline.common.layout import Layout
from pipeline.evaluation.corruptions import corrupt
from pipeline.evaluation.shift import CORRUPTION_COLUMNS
from pipeline.params.tree import Params
from pipeline.report import page, shift, shift_plots, style
from pipeline.report.results import Results, load
from tests.report.shifted import write_csv, write_external, write_json, write_shift

PAGE = "page.html.j2"


@pytest.fixture
def run(make_run) -> Callable[..., tuple[Params, Layout]]:
    def make(seeds: Sequence[int] = (0,), reference: str | None = "baseline_1") -> tuple[Params, Layout]:
        params, layout = make_run(seeds=seeds)
        write_shift(layout, seeds, reference)
        return params, layout

    return make


def tried(results: Results) -> shift.Shift:
    found = shift.load(results)
    assert found is not None
    return found


def test_the_table_has_the_fall_the_error_and_the_mean_corruption_error(run):
    found = tried(load(*run()))
    assert shift.corruption_heads(found) == [*shift.SUMMARY_HEADS, "mCE"]
    rows = {row.head: (row.cells, row.kind) for row in shift.corruption_table(found)}
    assert rows == {
        "Baseline III (equal weights, all data)": (
            ["0.700", "0.625", "0.075", "0.300", "0.375", "0.750 [0.650, 0.850]"], "",
        ),
        "RoS-KD (V, smoothed)": (["0.800", "0.600", "0.200", "0.200", "0.400", "0.750 [0.650, 0.850]"], "ours"),
    }  # fmt: skip


def test_several_seeds_are_a_mean_and_a_standard_deviation(run):
    results = load(*run((0, 1, 2)))
    figure = tried(results).corruption("roskd", "jpeg", "mean", "f1_macro")
    assert (figure.value, figure.low, figure.high) == pytest.approx((0.72, 0.70, 0.74))
    assert shift.spread_words(results) == "one standard deviation over 3 seeds either way"


def test_the_sentences_name_the_images_the_reference_and_the_worst_corruption(run):
    results = load(*run())
    assert shift.sentences(results, tried(results)) == [
        "4 test images of 2 lesions under 2 corruptions at severities 1 and 3 of 5.",
        "Mean corruption error, relative to Baseline I (no teacher), which has 1: Baseline III (equal weights, all "
        "data) 0.750, RoS-KD (V, smoothed) 0.750. Lower is better.",
        "RoS-KD (V, smoothed) loses most under Gaussian noise: F1 0.500, mean over severities, against 0.800 on the "
        "images as they are.",
    ]


def test_without_a_reference_nothing_is_relative(run):
    params, layout = run(reference=None)
    results = load(params, layout)
    assert shift.corruption_heads(tried(results)) == list(shift.SUMMARY_HEADS)
    assert not any("relative" in sentence for sentence in shift.sentences(results, tried(results)))
    assert "Baseline I is not trained, so that errors are absolute." in page.render(results, {}, PAGE)


def test_the_external_set_is_shown_beside_our_own_with_what_must_be_known_of_it(run):
    params, layout = run()
    write_external(layout)
    results = load(params, layout)
    (first, second) = shift.external_table(tried(results))
    assert first.cells == ["0.400 [0.300, 0.500]", "0.600 [0.500, 0.700]"] * 3
    assert (first.kind, second.kind) == ("", "ours")
    assert shift.external_sentences(results, tried(results)) == [
        "clinic.csv: 20 images of 10 groups, 18 of them judged, on 1 classes: A.",
        "1 images could not be read and are left out.",
        "It has no image of B.",
        "Its classes scar are none of ours, and are left out.",
        "Its 'b' may be our 'B'; names must be equal to the letter.",
        "Warning: 3 of its images have the same pixels as images of our own data.",
        "Of these, 2 in train, 1 in test of our own splits. Students were trained on those in train: "
        "take these out of the external table.",
    ]
    assert "The external test set beside our own test split" in page.render(results, {}, PAGE)


def test_bars_have_the_figures_and_the_intervals(run):
    results = load(*run())
    with mpl.rc_context(style.RC):
        figure = shift_plots.corruption_bars(results)
    assert figure is not None
    (panel,) = figure.axes
    assert [label.get_text() for label in panel.get_yticklabels()] == ["JPEG compression", "Gaussian noise"]
    assert [bar.get_width() for bar in panel.patches] == pytest.approx([0.6, 0.65, 0.7, 0.5])  # type: ignore[attr-defined]
    spans = [line.get_xdata() for line in panel.lines if line.get_marker() == "|"]
    assert np.ravel(spans) == pytest.approx([0.5, 0.7, 0.55, 0.75, 0.6, 0.8, 0.4, 0.6])
    assert [line.get_xdata()[0] for line in panel.lines if line.get_linestyle() == "--"] == pytest.approx([0.7, 0.8])


def test_examples_show_a_test_image_as_it_was_corrupted(run):
    results = load(*run())
    assert results.images is not None
    with mpl.rc_context(style.RC):
        figure = shift_plots.corruption_examples(results)
    assert figure is not None
    shown = [np.asarray(image.get_array()) for image in figure.axes[0].images]
    row = np.array([8])  # the first test image
    expected = [results.images[8][..., 0]]
    expected += [corrupt(results.images[row], row, "jpeg", severity, 0)[0, :, :, 0] for severity in (1, 3, 5)]
    assert len(shown) == 8
    for found, image in zip(shown, expected, strict=False):
        np.testing.assert_array_equal(found, image)


def test_without_figures_the_page_says_why(make_run):
    params, layout = make_run(full=False)
    results = load(params, layout)
    assert shift.load(results) is None
    assert shift_plots.corruption_bars(results) is None
    assert shift_plots.corruption_examples(results) is None
    assert "No student was tried: none of <code>robustness.methods</code> is trained." in page.render(results, {}, PAGE)
    write_csv(layout.corruption_figures(0, "roskd"), {name: [] for name in CORRUPTION_COLUMNS})
    assert shift.load(results) is None, "a method that is not trained has an empty table"


def test_without_a_second_source_the_page_names_the_parameter(run):
    params, layout = run()
    write_json(layout.external_report, {"table": None})
    text = page.render(load(params, layout), {}, PAGE)
    assert "<code>robustness.external</code> in params.yaml names a table of them." in text
