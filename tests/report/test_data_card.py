"""The data card: the facts, tables and sentences on it, whatever the run holds."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest

from pipeline.common.errors import UserError
from pipeline.report import data_card, data_plots
from pipeline.report.page import build, render
from pipeline.report.results import Results, load
from tests.data.made_files import write_hashes


def cells(rows) -> dict[str, list[str]]:
    return {row.head: row.cells for row in rows}


def card(results: Results) -> str:
    return render(results, {}, "data_card.html.j2")


def rewrite(path: Path, **changed: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changed), encoding="utf-8")


def test_the_card_holds_the_data_and_nothing_else(make_run) -> None:
    params, layout = make_run()
    build(params, layout)
    html = layout.data_card.read_text(encoding="utf-8")
    assert html.count('src="data:image/png;base64,') == 4, "group sizes, transition, overlap, contact sheet"
    assert "Baseline" not in html
    heads = re.findall(r"<h2[^>]*>(.*?)</h2>", html)
    expected = ["Classes and splits", "Image files", "Duplicates", "Label noise", "Teachers' subsets", "Images"]
    assert heads == expected
    report = layout.report.read_text(encoding="utf-8")
    assert [head for head in re.findall(r"<h3[^>]*>(.*?)</h3>", report) if head in expected] == expected


def test_facts(make_run) -> None:
    assert dict(data_card.facts(load(*make_run()))) == {
        "Source": "phantom (drawn images, not real ones)",
        "Task": "one of 2 classes per image",
        "Images": "12 of 6 lesions",
        "Stored as": "8 × 8 pixels, grey, 8 bits; drawn at this size",
        "Left out": "2 images that could not be read",
        "Splits": "train 6, val 2, test 4; 0.5 : 0.2 : 0.3, dealt with seed 0",
        "Label noise": "symmetric, nominal rate 0.4: a changed label becomes any other class, all alike",
        "SHA-256": "d" * 64,
    }


def test_a_table_has_groups_and_its_own_words(make_run) -> None:
    params, layout = make_run("multilabel", data={"source": "table", "resize": "pad"})
    pd.read_csv(layout.samples, dtype=str).assign(group_id=range(12)).to_csv(layout.samples, index=False)
    write_hashes(layout)
    rewrite(layout.data_report, quarantined={})
    facts = dict(data_card.facts(load(params, layout)))
    assert facts["Source"] == "table labels.csv"
    assert facts["Task"] == "any number of 2 findings per image"
    assert facts["Images"] == "12, each from a different group"
    assert facts["Stored as"].endswith("resized, padded to a square with black bars")
    assert facts["Left out"] == "nothing; every image was read"


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"official": True}, "test as the source lists it"),
        ({"folds": 3, "fold": 1}, "test is fold 1 of the 3 folds 0 to 2, dealt with seed 0"),
    ],
)
def test_how_the_splits_came_about(make_params, changed: dict, words: str) -> None:
    assert data_card.split_words(make_params(data={"source": "medmnist"}, split=changed)) == words


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("none", "none; labels as published"),
        ("pair", "pair, nominal rate 0.4: a changed label becomes the next class"),
        ("matrix", "matrix: as lesion_confusion.csv says; directions alone are scaled by rate 0.4"),
        ("instance", "instance, nominal rate 0.4: which labels change, and to what, follows from the images' look"),
        ("flip", "flip: present findings missed at rate 0.2, absent ones added at 0.05"),
    ],
)
def test_noise_in_words(make_params, kind: str, words: str) -> None:
    task = "multilabel" if kind == "flip" else "multiclass"
    params = make_params(task=task, noise={"kind": kind, "miss_rate": 0.2, "false_rate": 0.05})
    assert data_card.noise_words(params.noise) == words


def test_class_counts_by_split_and_group_and_as_given(make_run) -> None:
    # images in train, val, test, all, their share; groups in train, val, test; given in train
    assert cells(data_card.class_counts(load(*make_run(full=False)))) == {
        "A": ["3", "1", "2", "6", "50.0%", "2", "1", "1", "2"],
        "B": ["3", "1", "2", "6", "50.0%", "2", "1", "1", "4"],
        "all": ["6", "2", "4", "12", "100.0%", "3", "1", "2", "6"],
    }
    several = cells(data_card.class_counts(load(*make_run("multilabel", full=False))))
    assert several["A"] == ["2", "1", "2", "5", "41.7%", "1", "1", "1", "1"]
    assert several["no finding"] == ["2", "0", "1", "3", "25.0%", "2", "0", "1", "2"]


def test_groups_that_cross_are_counted(make_run) -> None:
    params, layout = make_run(full=False)
    assert data_card.crossing_groups(load(params, layout)) == 0
    path = layout.splits
    path.write_text(path.read_text().replace("s1,train", "s1,test"))
    assert data_card.crossing_groups(load(params, layout)) == 1


def test_folds(make_run) -> None:
    params, layout = make_run(full=False)
    assert data_card.folds(load(params, layout)) == []
    path = layout.splits
    pd.read_csv(path).assign(fold=[1] * 4 + [2] * 6 + [0] * 2).to_csv(path, index=False)
    assert cells(data_card.folds(load(params, layout))) == {
        "fold 0 (test)": ["2", "1"], "fold 1": ["4", "2"], "fold 2": ["6", "3"],
    }  # fmt: skip


def test_images_per_group(make_run) -> None:
    params, layout = make_run(full=False)
    assert data_card.groups_sentence(load(params, layout)) == "6 lesions with 2 images each."
    path = layout.samples
    pd.read_csv(path).assign(group_id=[0] * 6 + [1, 1, 2, 2, 2, 3]).to_csv(path, index=False)
    write_hashes(layout)
    words = "4 lesions with 1 to 6 images each, median 2.5; 1 of them has one image."
    assert data_card.groups_sentence(load(params, layout)) == words
    pd.read_csv(path).assign(group_id=range(12)).to_csv(path, index=False)
    write_hashes(layout)
    alone = load(params, layout)
    assert data_card.groups_sentence(alone) == "Every lesion has one image."
    assert data_plots.group_sizes(alone) is None


def test_sizes_quarantine_and_duplicates(make_run) -> None:
    params, layout = make_run(full=False)
    results = load(params, layout)
    assert cells(data_card.sizes(results)) == {
        "20 × 10": ["7", "58.3%"], "1,024 × 1,030": ["3", "25.0%"], "2 further sizes": ["2", "16.7%"],
    }  # fmt: skip
    assert cells(data_card.quarantined(results)) == {"bad 1": ["<truncated> after 7 bytes"], "bad 2": ["empty file"]}
    found = [(row.head, row.cells, row.kind) for row in data_card.duplicates(results)]
    assert found == [
        ("A, B", ["2", "s0, s9", "g0, g4", "train, test", "labels differ"], "conflict"),
        ("A", ["2", "s1, s2", "g0, g1", "train", "same label"], ""),
    ]
    assert "2 sets; in 1 of them the published labels differ" in data_card.duplicates_sentence(results)
    assert card(results).count('<tr class="conflict">') == 1


def test_long_lists_are_cut_and_the_rest_is_counted(make_run) -> None:
    params, layout = make_run("multilabel", full=False)
    many = {"images": 300, "samples": [f"s{i % 12}" for i in range(100)], "groups": ["g0"] * 50 + ["g1"] * 50}
    many |= {"labels": ["A|B", ""] * 50, "conflicting": True}
    rewrite(
        layout.data_report, quarantined={f"bad {i}": "empty" for i in range(1234)},
        duplicates=[many] * 60, duplicate_sets=4321, conflicting_sets=60,
    )  # fmt: skip
    results = load(params, layout)
    assert len(data_card.quarantined(results)) == len(data_card.duplicates(results)) == 20
    row = data_card.duplicates(results)[0]
    assert (row.head, row.cells[:3]) == ("A + B, no finding", ["300", "s0, s1, s2, s3 and 96 more", "g0, g1"])
    html = card(results)
    assert "left out: 1,234. The first 20 are shown, 1,214 more are in data/report.json." in html
    assert "The first 20 of 4,321 sets." in html


def test_without_duplicates_and_bad_images_it_says_so(make_run) -> None:
    params, layout = make_run(full=False)
    rewrite(layout.data_report, quarantined={}, duplicates=[], duplicate_sets=0, conflicting_sets=0)
    html = card(load(params, layout))
    assert "Every image could be read." in html
    assert "No two lesions share an image with exactly the same pixels." in html


def test_noise_by_split_tells_corrections_from_noise(make_run) -> None:
    params, layout = make_run(full=False)
    path = layout.labels
    labels = pd.read_csv(path)
    labels.loc[3, "given"] = "A"  # published B, not flipped: a person did it
    labels.to_csv(path, index=False)
    assert cells(data_card.noise_rates(load(params, layout))) == {
        "train": ["6", "1", "16.7%", "1"], "val": ["2", "0", "0.0%", "0"], "test": ["4", "0", "0.0%", "0"],
    }  # fmt: skip
    assert "Labels in the corrections file" not in card(load(params, layout))
    rewrite(layout.noise, corrected=3)
    assert "Labels in the corrections file: 3, those that agree" in card(load(params, layout))


def test_no_matrix_is_shown_where_there_is_none(make_run) -> None:
    params, layout = make_run(full=False)
    rewrite(layout.noise, kind="instance", nominal=None)
    assert data_plots.transition(load(params, layout)) is not None
    assert data_card.deviation_sentence(load(params, layout)) == ""
    rewrite(layout.noise, kind="none", transition=[[4, 0], [0, 4]])
    assert data_plots.transition(load(params, layout)) is None
    assert data_card.deviation_sentence(load(params, layout)) == ""


def test_rates_of_findings(make_run) -> None:
    params, layout = make_run("multilabel", full=False)
    assert data_plots.transition(load(params, layout)) is None
    assert cells(data_card.finding_rates(load(params, layout))) == {
        "A": ["3", "1", "33.3%", "5", "0", "0.0%"], "B": ["4", "0", "0.0%", "4", "1", "25.0%"],
    }  # fmt: skip
    never = {"present": 0, "missed": 0, "miss_rate": None, "absent": 8, "false": 2, "false_rate": 0.25}
    rewrite(layout.noise, per_class={"A": never})
    assert cells(data_card.finding_rates(load(params, layout))) == {"A": ["0", "0", "", "8", "2", "25.0%"]}


def test_artefacts_of_older_code_are_named(make_run) -> None:
    params, layout = make_run(full=False)
    layout.noise.write_text('{"kind": "none", "realised": {}, "corrected": 0}')
    with pytest.raises(UserError, match=r"splits/noise\.json: has no field classes, nominal; run `make repro`"):
        load(params, layout)
    layout.noise.unlink()
    with pytest.raises(UserError, match=r"splits/noise\.json: no such file"):
        load(params, layout)


def test_near_duplicates_are_listed_with_their_twins(make_run) -> None:
    results = load(*make_run())
    assert data_card.near_duplicates_sentence(results).startswith(
        "2 images look like one of another lesion (thumbnails that correlate): copies saved anew, resized, brightened, "
        "turned or mirrored. 2 of them have their twin in another split, 2 another label than it."
    )
    assert [(row.head, row.cells, row.kind) for row in data_card.near_duplicates(results)] == [
        ("s0", ["s9", "0.998", "train, test", "B / A"], "conflict"),
        ("s9", ["s0", "0.998", "test, train", "A / B"], "conflict"),
    ]


def test_without_near_duplicates_the_card_says_so(make_run) -> None:
    params, layout = make_run()
    layout.near_duplicates.write_text("sample_id,duplicate_of,similarity,split,split_of,given,given_of\n")
    rewrite(layout.audit_summary, near_duplicates={"images": 0, "across_splits": 0, "conflicting": 0})
    results = load(params, layout)
    assert data_card.near_duplicates_sentence(results).startswith("No two lesions have images that look the same")
    assert data_card.near_duplicates(results) == []
    layout.audit_summary.unlink()
    assert data_card.near_duplicates_sentence(load(params, layout)) == ""
