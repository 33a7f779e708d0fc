"""What the page says about training: who has memorised, and who is not trained."""

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


def plain(changed: float | None, fall: float = 0.0) -> dict[str, float]:
    values = {"steps": 216.0, "loss": 1.234, "fall": fall, "clean": 0.9}
    return values if changed is None else values | {"changed": changed}


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        (0.03, "Baseline I (no teacher) repeats 3% of the changed training labels: little is memorised, and a method"),
        (0.3, "Baseline I (no teacher) repeats 30% of the changed training labels: some of them are memorised."),
        (0.96, "repeats 96% of the changed training labels: most of them are memorised, which is what RoS-KD is made"),
        (None, "No wrong label is known here. Baseline I (no teacher) gives 90% of the given training labels."),
    ],
)
def test_the_regime_is_named_at_the_head_of_page_and_terminal(results_of, changed, sentence):
    results = results_of({("", "baseline_1"): plain(changed)})
    assert sentence in training.memory_sentence(results)
    assert sentence in results.layout.report.read_text()
    assert sentence[:40] in " ".join(results.layout.table.read_text().split())


def test_without_the_plain_student_nothing_is_said(results_of):
    results = results_of({("", "roskd"): plain(0.5)})
    assert training.memory_sentence(results) == training.untrained_sentence(results) == ""


def test_networks_that_are_not_trained_are_named(results_of):
    results = results_of(
        {("", "baseline_1"): plain(0.1, 0.019), ("", "roskd"): plain(0.1, 0.05), ("subset", "densenet121"): plain(0.1)},
        {"resnet18": 0.70, "densenet121": 0.34},
    )
    sentence = training.untrained_sentence(results)
    assert sentence == (
        "The training loss still falls: RoS-KD (V, smoothed) (5% an epoch). Far behind the best teacher of their pool: "
        "densenet121 (subset) (F1 0.34 against 0.70). What is compared must be trained: raise training.epochs or lr."
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
