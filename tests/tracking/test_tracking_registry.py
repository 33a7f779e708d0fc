"""The registered model: one version per content, who is challenger and who champion."""

import os

import pytest
from mlflow import MlflowClient

from pipeline import tracking
from pipeline.common.errors import UserError
from pipeline.tracking.registry import judge

SAME = {"task": "multiclass", "data_hash": "d", "validation_hash": "v", "classes": "NV, DF"}
OURS = SAME | {"val/f1_macro": "0.5"}
OTHERS = {"task": "multilabel", "data_hash": "d", "validation_hash": "v", "classes": "A, B"}


@pytest.mark.parametrize(
    ("champion", "challenger", "promoted", "reason"),
    [
        (None, OURS, True, "there was no champion"),
        (SAME | {"val/f1_macro": "0.4"}, OURS, True, "val/f1_macro 0.5000 against the champion's 0.4000"),
        (SAME | {"val/f1_macro": "0.5"}, OURS, False, "val/f1_macro 0.5000 against the champion's 0.5000"),
        (SAME | {"val/f1_macro": "0.6"}, OURS, False, "val/f1_macro 0.5000 against the champion's 0.6000"),
        (OURS | {"data_hash": "e"}, OURS, False, "not compared with the champion: the data differ"),
        (
            OURS | {"validation_hash": "w", "classes": "NV"},
            OURS,
            False,
            "not compared with the champion: the validation set or its labels and the classes differ",
        ),
        (SAME, OURS, False, "not compared with the champion: its version has no tag val/f1_macro"),
        (
            OTHERS | {"val/auroc_macro": "0.7", "val/f1_macro": "0.9"},
            OTHERS | {"val/auroc_macro": "0.8", "val/f1_macro": "0.1"},
            True,
            "val/auroc_macro 0.8000 against the champion's 0.7000",
        ),
    ],
)
def test_who_becomes_champion(champion, challenger, promoted, reason):
    assert judge(champion, challenger) == (promoted, reason)


@pytest.fixture
def client(exported) -> MlflowClient:
    return MlflowClient(os.environ["MLFLOW_TRACKING_URI"])


def aliases(client: MlflowClient) -> dict[str, str]:
    return {alias: str(version) for alias, version in client.get_registered_model("roskd-phantom").aliases.items()}


def retrain(exported, weights: str, val: float) -> None:
    """Another student whose macro F1 on validation is `val`."""
    exported.export_student(weights)
    exported.write_students(roskd=val - 0.25)


def test_the_first_version_is_challenger_and_champion(client, exported, params):
    registration = tracking.mirror(params, exported.layout).registration
    assert registration == tracking.Registration(
        "roskd-phantom", "1", ("challenger", "champion"), created=True, reason="there was no champion"
    )
    assert aliases(client) == {"challenger": "1", "champion": "1"}
    version = client.get_model_version("roskd-phantom", "1")
    tags = {key: version.tags[key] for key in ("method", "seed", "task", "classes", "val/f1_macro", "data_hash")}
    assert tags == {
        "method": "roskd",
        "seed": "0",
        "task": "multiclass",
        "classes": "NV, DF",
        "val/f1_macro": "0.859375",
        "data_hash": "d" * 64,
    }
    run = client.get_run(version.run_id)
    assert (run.data.tags["roskd.name"], run.info.status) == ("roskd/seed0", "FINISHED")
    linked = client.get_logged_model(version.source.removeprefix("models:/")).metrics
    assert {metric.key: metric.value for metric in linked} == {"test/f1_macro": 0.609375, "test/auroc/NV": 0.75}
    assert tracking.model_exists("models:/roskd-phantom@champion")
    assert tracking.model_exists("models:/roskd-phantom/1")
    assert not tracking.model_exists("models:/roskd-phantom/2")
    assert not tracking.model_exists("models:/roskd-isic2019@champion")


def test_the_same_student_makes_no_new_version(client, exported, params):
    tracking.mirror(params, exported.layout)
    assert tracking.mirror(params, exported.layout).registration == tracking.Registration(
        "roskd-phantom", "1", ("challenger", "champion"), created=False, reason="the champion already"
    )
    assert len(client.search_model_versions("name = 'roskd-phantom'")) == 1


def test_versions_compete_once_and_a_person_has_the_last_word(client, exported, params):
    tracking.mirror(params, exported.layout)
    retrain(exported, "worse weights", val=0.75)
    worse = tracking.mirror(params, exported.layout).registration
    assert aliases(client) == {"challenger": "2", "champion": "1"}
    assert "0.7500 against the champion's 0.8594" in str(worse)
    assert "set_registered_model_alias('roskd-phantom', 'champion', '2')" in str(worse)
    retrain(exported, "better weights", val=0.9375)
    tracking.mirror(params, exported.layout)
    assert aliases(client) == {"challenger": "3", "champion": "3"}
    client.set_registered_model_alias("roskd-phantom", "champion", "1")
    tracking.mirror(params, exported.layout)
    assert aliases(client) == {"challenger": "3", "champion": "1"}


def test_other_labels_are_not_compared(client, exported, params):
    tracking.mirror(params, exported.layout)
    exported.write_csv(exported.layout.labels, "sample_id,given,published,flipped", [("b", "DF", "DF", 0)])
    retrain(exported, "better weights", val=1.0)
    registration = tracking.mirror(params, exported.layout).registration
    assert aliases(client) == {"challenger": "2", "champion": "1"}
    assert "the validation set or its labels differ" in registration.reason
    assert "to promote version 2 by hand" in registration.reason


def test_a_corrected_evaluation_corrects_the_version(client, exported, params):
    tracking.mirror(params, exported.layout)
    exported.write_students(roskd=0.5)
    tracking.mirror(params, exported.layout)
    assert client.get_model_version("roskd-phantom", "1").tags["val/f1_macro"] == "0.75"


def test_registering_by_itself_does_as_the_last_stage_does(client, exported, params):
    first = tracking.mirror(params, exported.layout).registration
    again = tracking.register(params, exported.layout)
    assert (again.version, again.aliases, again.created) == (first.version, first.aliases, False)


def test_without_roskd_the_last_method_is_registered_with_the_end_of_its_curve(client, exported, make_two):
    tracking.mirror(make_two(methods=["baseline_3", "baseline_1"]), exported.layout)
    version = client.get_model_version("roskd-phantom", "1")
    assert (version.tags["method"], version.tags["val/f1_macro"]) == ("baseline_1", "0.375")
    assert client.get_run(version.run_id).data.tags["roskd.name"] == "baseline_1/seed0"
    linked = client.get_logged_model(version.source.removeprefix("models:/")).metrics
    assert {metric.key: metric.value for metric in linked}["test/f1_macro"] == 0.5


def test_a_student_without_a_validation_figure_is_named(client, exported, params):
    exported.write_students(roskd=float("nan"))
    with pytest.raises(UserError, match=r"students\.csv: has no val/f1_macro of method roskd, checkpoint smoothed"):
        tracking.mirror(params, exported.layout)


def test_a_store_that_does_not_exist_holds_no_model_and_is_not_made(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    assert not tracking.model_exists("models:/roskd-phantom@champion")
    assert not (tmp_path / "mlflow.db").exists()
