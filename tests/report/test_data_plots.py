"""The plots of the data: the cells of the matrices, and the images on the contact sheet."""

import json

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from pipeline.common.errors import UserError
from pipeline.report import data_card, data_plots, heatmap
from pipeline.report.results import load
from tests.data.made_files import write_hashes


def texts(figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


def test_group_bars_end_at_the_largest_group() -> None:
    assert data_plots.group_bars(np.array([1, 1, 2, 5])) == {"1": 2, "2": 1, "3": 0, "4": 0, "5": 1}
    wide = data_plots.group_bars(np.array([1, 6, 10, 11, 100, 101, 184]))
    assert list(wide.values()) == [1, 0, 0, 0, 0, 2, 1, 0, 1, 2]
    assert list(wide)[-2:] == ["51 to 100", "over 100"]


def test_transition_cells(make_run) -> None:
    results = load(*make_run(full=False))
    figure = data_plots.transition(results)
    assert figure is not None
    assert texts(figure) == ["75 %\n(3)", "25 %\n(1)", "100 %\n(4)"], "what never happened stays blank"
    panel = figure.axes[0]
    assert [label.get_text() for label in panel.get_yticklabels()] == ["A (n = 4)", "B (n = 4)"]
    assert (panel.get_xlabel(), panel.get_ylabel()) == ("given label", "published label (n images)")
    # B was kept always, against 0.7
    assert (
        data_card.deviation_sentence(results)
        == "No cell is further than 30.0 percentage points from the nominal matrix."
    )
    assert data_card.finding_rates(results) == []


def test_overlap_is_a_share_of_the_rows_subset(make_run) -> None:
    # the first teacher sees s0 to s3, the second s2 to s5; one more image for the second
    params, layout = make_run()
    path = layout.subsets
    path.write_text(path.read_text().replace("s1,1,0", "s1,1,1"))
    results = load(params, layout)
    assert data_plots.shared_counts(results).tolist() == [[4, 3], [3, 5]]
    figure = data_plots.overlap(results)
    assert figure is not None
    assert texts(figure) == ["100 %\n(4)", "75 %\n(3)", "60 %\n(3)", "100 %\n(5)"]
    rows = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert rows == ["resnet18 (4)", "densenet121 (5)"]


@pytest.mark.parametrize(
    ("columns", "cell"), [(2, "1 %\n(1,234)"), (12, "1 %\n(1,234)"), (13, "1"), (20, "1"), (25, "1"), (26, None)]
)
def test_a_matrix_shows_what_it_has_room_for(columns: int, cell: str | None) -> None:
    counts = np.zeros((1, columns), dtype=int)
    counts[0, 1] = 1234
    figure = Figure()
    heatmap.draw(figure.subplots(), counts, np.array([123_400]), ["row"], [f"class {i}" for i in range(columns)])
    assert texts(figure) == ([] if cell is None else [cell])


def test_small_shares_and_long_names() -> None:
    figure = Figure()
    name = "actinic keratoses and intraepithelial carcinoma"
    heatmap.draw(figure.subplots(), np.array([[2, 998]]), np.array([1000]), [f"{name} (n = 1,000)"], [name, "melanoma"])
    assert texts(figure) == ["< 1 %\n(2)", "100 %\n(998)"]
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["actinic keratoses and i…", "melanoma"]


def test_the_sheet_shows_changed_labels() -> None:
    # rows 0, 1, 2 show the class, row 0 with a changed label
    shown, changed = np.array([1, 1, 1, 0, 0], dtype=bool), np.array([1, 0, 0, 0, 1], dtype=bool)
    assert data_plots.sheet_rows(shown, changed) == [1, 2, 0], "the changed one comes last"
    assert data_plots.sheet_rows(shown, changed, 2) == [1, 0]
    assert data_plots.sheet_rows(~shown, np.zeros(5, dtype=bool), 1) == [3]
    spread = data_plots.sheet_rows(np.ones(100, dtype=bool), np.arange(100) >= 90)
    assert spread == [0, 29, 59, 89, 90, 93, 96, 99], "evenly spread, half of them changed"


def test_the_sheet_holds_training_images_of_every_class(make_run) -> None:
    results = load(*make_run())
    assert data_plots.sheet(results) == {"A": [1, 2, 0], "B": [3, 4, 5]}
    several = load(*make_run("multilabel"))
    assert data_plots.sheet(several) == {"A": [1, 0], "B": [1, 3, 4], "no finding": [2, 5]}
    figure = data_plots.contact_sheet(several)
    assert figure is not None
    assert len(figure.axes[0].images) == 7, "one thumbnail for each of them"
    assert texts(figure) == ["A", "given B", "B", "no finding"]


def test_a_sheet_has_at_most_eight_images_of_a_class(make_run) -> None:
    params, layout = make_run()
    rows = 40
    ids = [f"s{i}" for i in range(rows)]
    tables = {
        layout.samples: {"sample_id": ids, "group_id": ids, "label": ["A"] * rows},
        layout.splits: {"sample_id": ids, "split": ["train"] * 30 + ["val"] * 5 + ["test"] * 5},
        layout.labels: {"sample_id": ids, "given": ["A"] * rows, "published": ["A"] * rows, "flipped": [0] * rows},
    }
    for path, table in tables.items():
        pd.DataFrame(table).to_csv(path, index=False)
    np.save(layout.images, np.zeros((rows, 8, 8, 3), dtype=np.uint8))
    write_hashes(layout)
    figure = data_plots.contact_sheet(load(params, layout))
    assert figure is not None
    assert len(figure.axes[0].images) == 8
    assert texts(figure) == ["A", "B: no training image"]


@pytest.mark.parametrize(
    ("given", "published", "lines"),
    [
        ("NV", "NV", []),
        ("NV", "MEL", ["given NV"]),
        ("Mass|Nodule", "Mass", ["+ Nodule"]),
        ("", "Mass", ["− Mass"]),
        ("Mass", "Effusion|Nodule", ["+ Mass", "and 2 more"]),
        ("Nodule|Mass", "Mass|Nodule", []),
    ],
)
def test_label_changes(given: str, published: str, lines: list[str]) -> None:
    assert data_plots.label_change(given, published) == lines


def test_published_and_given_say_which_classes_each_image_has(make_run) -> None:
    results = load(*make_run("multilabel", full=False))
    assert results.published.dtype == bool
    assert results.published[:4].astype(int).tolist() == [[1, 0], [1, 1], [0, 0], [0, 1]]
    assert results.given[:4].astype(int).tolist() == [[0, 1], [1, 1], [0, 0], [0, 1]]
    single = load(*make_run(full=False))
    assert single.published.tolist() == [[name == "A", name == "B"] for name in single.samples["published"]]
    assert single.given.tolist() == [[name == "A", name == "B"] for name in single.samples["given"]]


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_a_class_may_be_part_of_anothers_name(make_run, task: str) -> None:
    params, layout = make_run(task, full=False)
    report = json.loads(layout.data_report.read_text()) | {"classes": ["A", "A effect"]}
    layout.data_report.write_text(json.dumps(report))
    for path in (layout.samples, layout.labels):
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        table.replace({"B": "A effect", "A|B": "A|A effect"}).to_csv(path, index=False)
    write_hashes(layout)
    results = load(params, layout)
    assert results.published[3].tolist() == [False, True]
    assert results.published.sum(axis=0).tolist() == ([6, 6] if task == "multiclass" else [5, 6])


def test_a_label_that_is_no_class_is_named(make_run) -> None:
    params, layout = make_run(full=False)
    for path, name in ((layout.labels, "labels"), (layout.samples, "samples")):
        path.write_text(path.read_text().replace("B", "C", 1))
        write_hashes(layout)
        with pytest.raises(UserError, match=rf"{name}\.csv: data row \d+: unknown class 'C'; the classes are A, B"):
            load(params, layout)


def test_only_the_histories_of_the_chosen_methods_are_drawn(make_run) -> None:
    curves = load(*make_run(methods=["baseline_1", "roskd"]))
    assert set(curves.curves["method"]) == {"baseline_1"}
    assert pd.api.types.is_integer_dtype(curves.curves["epoch"])
    assert set(curves.teacher_curves["architecture"]) == {"resnet18", "densenet121"}
    assert set(curves.teacher_curves["pool"]) == {"subset"}
    plain = load(*make_run(methods=["baseline_1"]))
    assert plain.teacher_curves.empty
    assert load(*make_run(methods=["baseline_3"])).curves.empty
