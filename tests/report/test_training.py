"""What the page says about training: who has memorised, and who is not trained."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pipeline.evaluation.memorisation import TRAINING_COLUMNS
from pipeline.report import training
from pipeline.report.page import build
from pipeline.report.results import Results, load


@pytest.fixture
def results_of(make_run):
    """Return a function that writes metrics/training.csv and loads the run: {(pool, network): {metric: value}}."""

    def make(found: dict[tuple[str, str], dict[str, float]], teachers: dict[str, float] | None = None) -> Results:
        params, layout = make_run()
        rows = [
            {"seed": 0, "network": network, "pool": pool, "metric": metric, "value": value}
            for (pool, network), values in found.items()
            for metric, value in values.items()
        ]
        pd.DataFrame(rows, columns=list(TRAINING_COLUMNS)).to_csv(layout.training_metrics, index=False)
        if teachers:
            table = pd.read_csv(layout.teacher_metrics)
            table["value"] = table["architecture"].map(teachers).astype(float)
            table.to_csv(layout.teacher_metrics, index=False)
        build(params, layout)
        return load(params, layout)

    return make


def plain(changed: float | None, fall: float = 0.0, clean: float = 0.9) -> dict[str, float]:
    values = {"steps": 216.0, "loss": 1.234, "fall": fall, "clean": clean}
    return values if changed is None else values | {"changed": changed, "chance": 0.1}


@pytest.mark.parametrize(
    ("changed", "clean", "sentence"),
    [
        (
            0.13,
            0.9,
            "Baseline I (no teacher) repeats 13% of the changed training labels (10% would be chance): little is ",
        ),
        (0.19, 0.9, "(10% would be chance): little is memorised, and a method against memorising has little to cure."),
        (0.31, 0.9, "repeats 31% of the changed training labels (10% would be chance): some of them are memorised."),
        (0.96, 0.9, "(10% would be chance): most of them are memorised, which is what RoS-KD is made against."),
        (0.13, 0.2, "but then it gives only 20% of the unchanged ones, so that it has learnt hardly anything."),
    ],
)
def test_the_regime_is_named_at_the_head_of_page_and_terminal(results_of, changed, clean, sentence):
    results = results_of({("", "baseline_1"): plain(changed, clean=clean)})
    assert sentence in training.memory_sentence(results)
    assert sentence in results.layout.report.read_text()
    assert sentence[:40] in " ".join(results.layout.table.read_text().split())


def test_without_a_known_wrong_label_the_regime_is_not_named(results_of):
    results = results_of({("", "baseline_1"): plain(None)})
    assert "Noise only took findings away" in training.memory_sentence(results)  # s0 is marked as flipped
    clean = replace(results, samples=results.samples.assign(flipped=0))
    assert training.memory_sentence(clean) == (
        "No wrong label is known here. Baseline I (no teacher) gives 90% of the given training labels."
    )


def test_without_the_plain_student_nothing_is_said(results_of):
    results = results_of({("", "roskd"): plain(0.5)})
    assert training.memory_sentence(results) == training.untrained_sentence(results) == ""


def test_the_noise_gap_is_named_where_a_student_learnt_from_published_labels(results_of):
    results = results_of({("", "baseline_1"): plain(0.5)})
    assert training.gap_sentence(results) == ""
    first = results.comparisons.iloc[[0]].assign(
        method_a="baseline_1_published", method_b="baseline_1", metric="f1_macro", difference=0.12, low=0.1, high=0.14
    )
    known = replace(results, comparisons=pd.concat([results.comparisons, first]))
    assert training.gap_sentence(known) == (
        "The noise gap, Baseline I on published labels minus Baseline I (no teacher), is +0.120 [+0.100, +0.140] F1: "
        "what wrong labels cost a plain student."
    )
    assert training.gap_sentence(known) in training.sentences(known)


def test_networks_that_are_not_trained_are_named(results_of):
    results = results_of(
        {("", "baseline_1"): plain(0.1, 0.019), ("", "roskd"): plain(0.1, 0.05), ("subset", "densenet121"): plain(0.1)},
        {"resnet18": 0.70, "densenet121": 0.34},
    )
    sentence = training.untrained_sentence(results)
    assert sentence == (
        "The training loss still falls in 1 of 3 trainings, most in RoS-KD (V, smoothed), by 5% of its way in an "
        "epoch. 0.15 or more behind the best of their pool: 1 of 2 teachers, most densenet121 (subset), F1 0.34 "
        "against 0.70. What is compared must be trained: raise training.epochs or lr."
    )


def test_the_table_has_students_first_and_blanks_where_nothing_is_known(results_of):
    seen = {"changed_seen": 0.5, "changed_unseen": 0.04}
    results = results_of({("subset", "resnet18"): plain(0.3, -0.01) | seen, ("", "baseline_1"): plain(None)})
    found = [(row.head, row.cells) for row in training.rows(results)]
    assert found == [
        ("Baseline I (no teacher)", ["216", "1.234", "0.0%", "90.0%", "", "", ""]),
        ("resnet18 (subset)", ["216", "1.234", "−1.0%", "90.0%", "30.0%", "50.0%", "4.0%"]),
    ]
    assert len(training.HEADS) == len(found[0][1])
    assert np.isfinite(results.trained()["", "baseline_1"]["loss"])
