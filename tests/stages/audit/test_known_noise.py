"""Stage audit where labels are known to be wrong: how good its orders of doubt are."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score

from pipeline.common.tables import read_csv
from tests.stages.audited import ROWS, SPLIT, Project, make

OF_PLAIN = ["aum", "disagreed", "loss"]


def of_table(project: Project, table: pd.DataFrame) -> np.ndarray:
    """Which rows of the table have a wrong label."""
    rows = ROWS[project.places(table)]
    wrong = (project.given != project.published)[rows]
    if project.task == "multiclass":
        return wrong
    return wrong[np.arange(len(table)), [project.classes.index(name) for name in table["finding"]]]


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_where_noise_was_injected_the_order_is_measured(tmp_path, params_of, task):
    project = make(tmp_path, task)
    table, summary = project.run(params_of(task=task))
    wrong, known = of_table(project, table), summary["known"]
    doubt = {name: -table[name].astype(float) for name in ("score", "self_confidence")}
    assert known["wrong"] == wrong.sum() > 10
    assert known["random"] == pytest.approx(wrong.mean())
    assert known["average_precision"] == pytest.approx(average_precision_score(wrong, doubt["score"]))
    assert known["average_precision"] > 1.5 * known["random"]
    assert known["precision_at"] == {
        str(k): pytest.approx(wrong[:k].mean()) for k in (50, 100, 200) if k <= len(table)
    }  # the table is in the order of doubt
    of_train = (table["split"] == "train").to_numpy()
    orders = doubt | {"aum": -pd.to_numeric(table["aum"])}
    orders |= {name: pd.to_numeric(table[name]) for name in ("disagreed", "loss")}
    assert known["on_train"] == {
        name: pytest.approx(average_precision_score(wrong[of_train], values[of_train]))
        for name, values in orders.items()
    } | {"random": pytest.approx(wrong[of_train].mean())}
    assert min(known["on_train"][name] for name in orders) > wrong[of_train].mean()


def test_a_corrected_label_counts_as_right(tmp_path, params_of):
    """It may differ from the published one, and yet noise did not change it."""
    project = make(tmp_path)
    _, before = project.run(params_of())
    labels = read_csv(project.layout.labels)
    flipped = (labels["flipped"] == "1") & (SPLIT == "val")
    labels.loc[flipped.idxmax(), "flipped"] = "0"
    labels.to_csv(project.layout.labels, index=False)
    _, after = project.run(params_of())
    assert after["known"]["wrong"] == before["known"]["wrong"] - 1
    labels.assign(flipped="0").to_csv(project.layout.labels, index=False)
    _, clean = project.run(params_of())
    assert "known" not in clean
    assert clean == {name: value for name, value in before.items() if name != "known"}


def test_where_no_training_label_was_judged_only_the_votes_are_measured(tmp_path, params_of):
    """Every teacher saw every training sample; the plain student's margins speak of these alone."""
    project = make(tmp_path, seen=1.0)
    table, summary = project.run(params_of())
    assert {*table["split"]} == {"val"}
    assert summary["known"]["average_precision"] > summary["known"]["random"]
    assert "on_train" not in summary["known"]


@pytest.mark.parametrize("wrong", ["val", "test"])
def test_orders_are_measured_only_where_a_judged_label_is_known_to_be_wrong(tmp_path, params_of, wrong):
    """`test`: not one of the audited labels."""
    project = make(tmp_path)
    labels = read_csv(project.layout.labels)
    labels.assign(flipped=np.where(wrong == SPLIT, labels["flipped"], "0")).to_csv(project.layout.labels, index=False)
    _, summary = project.run(params_of())
    assert ("known" in summary) == (wrong == "val")
    assert "on_train" not in summary.get("known", {})


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_the_order_is_measured_for_each_class_and_along_its_way(tmp_path, params_of, task):
    project = make(tmp_path, task)
    table, summary = project.run(params_of(task=task))
    wrong, of = of_table(project, table), table["given" if task == "multiclass" else "finding"]
    for name, found in summary["known"]["per_class"].items():
        own = (of == name).to_numpy()
        doubt = -table["score"].astype(float)
        assert found == {
            "wrong": wrong[own].sum(),
            "average_precision": pytest.approx(average_precision_score(wrong[own], doubt[own])),
            "random": pytest.approx(wrong[own].mean()),
        }
    assert sorted(summary["known"]["per_class"]) == ["A", "B", "C"]
    curves = read_csv(project.layout.orders).astype({"checked": int, "precision": float, "recall": float})
    of_train = (table["split"] == "train").to_numpy()
    assert [*dict.fromkeys(curves["order"])] == ["score", "self_confidence", *OF_PLAIN]
    for name, points in curves.groupby("order"):
        sign = -1 if name in {"score", "self_confidence", "aum"} else 1
        order = np.argsort(-sign * pd.to_numeric(table[name])[of_train], kind="stable")
        found = np.cumsum(wrong[of_train][order])
        assert points["checked"].iloc[-1] == of_train.sum()
        at = points["checked"].to_numpy() - 1
        assert points["precision"].to_numpy() == pytest.approx(found[at] / (at + 1))
        assert points["recall"].to_numpy() == pytest.approx(found[at] / found[-1])
