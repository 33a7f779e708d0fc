"""The registered model: one version per content, who is challenger and who champion."""

import json
import os
import shutil
from contextlib import suppress

import pytest
from mlflow import MlflowClient

from pipeline import tracking
from pipeline.common.errors import UserError
from pipeline.common.files import sha256_file
from pipeline.tracking.succession import Succession


@pytest.fixture
def client(exported) -> MlflowClient:
    return MlflowClient(os.environ["MLFLOW_TRACKING_URI"])


def aliases(client: MlflowClient) -> dict[str, str]:
    return {alias: str(version) for alias, version in client.get_registered_model("roskd-phantom").aliases.items()}


def test_the_first_version_is_challenger_and_champion(client, exported, params):
    weights = exported.layout.teacher_weights(0, "subset", "resnet18")
    exported.write(weights, "weights of a teacher")
    registration = tracking.mirror(params, exported.layout).registration
    assert registration == tracking.Registration(
        "roskd-phantom", "1", ("challenger", "champion"), created=True, reason="there was no champion"
    )
    assert aliases(client) == {"challenger": "1", "champion": "1"}
    version = client.get_model_version("roskd-phantom", "1")
    wanted = {
        "method": "roskd",
        "seed": "0",
        "task": "multiclass",
        "classes": "NV, DF",
        "label_columns": "phantom",
        "data_hash": "d" * 64,
        "promotion": "first",
        "promotion.reason": "there was no champion",
    }
    assert {key: version.tags.get(key) for key in wanted} == wanted
    assert float(version.tags["val/f1_macro"]) == float(version.tags["test/f1_macro"]) == 0.75
    low, high = map(float, version.tags["val/f1_macro.interval"].split(" to "))
    assert 0.5 < low < 0.75 < high < 0.95
    assert json.loads(version.tags["teachers"]) == {"resnet18": sha256_file(weights), "densenet121": ""}
    assert len(version.tags["params_hash"]) == len(version.tags["validation_hash"]) == 64
    assert version.description.startswith("first: there was no champion\n\n- figures: val/f1_macro 0.7500 (")
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


def test_a_challenger_becomes_champion_only_beyond_the_interval(client, exported, params):
    tracking.mirror(params, exported.layout)
    exported.export_student("slightly better", right=31)
    slightly = tracking.mirror(params, exported.layout).registration
    assert aliases(client) == {"challenger": "2", "champion": "1"}
    assert "val/f1_macro 0.7749 against 0.7500 of version 1: +0.0249, 95 % interval +0.0000 to" in slightly.reason
    assert "over 40 groups, which is not above 0" in slightly.reason
    assert str(slightly).endswith("; version 1 stays champion (`python -m pipeline.registry promote 2` changes it)")
    exported.export_student("much better", right=38)
    much = tracking.mirror(params, exported.layout).registration
    assert aliases(client) == {"challenger": "3", "champion": "3"}
    assert much.reason.startswith("val/f1_macro 0.9500 against 0.7500 of version 1: +0.2000, 95 % interval +0.0")
    assert client.get_model_version("roskd-phantom", "2").tags["promotion"] == "kept"
    assert client.get_model_version("roskd-phantom", "3").tags["promotion"] == "better"
    assert Succession(client, "roskd-phantom").champions() == ["1", "3"]


def test_a_person_has_the_last_word(client, exported, params):
    tracking.mirror(params, exported.layout)
    exported.export_student("much better", right=38)
    tracking.mirror(params, exported.layout)
    client.set_registered_model_alias("roskd-phantom", "champion", "1")
    again = tracking.mirror(params, exported.layout).registration
    assert aliases(client) == {"challenger": "2", "champion": "1"}
    assert again.reason.startswith("judged before: val/f1_macro 0.9500 against 0.7500")


def test_force_promotes_once_and_keeps_what_the_comparison_says(client, exported, params, make_two):
    tracking.mirror(params, exported.layout)
    exported.export_student("worse", right=20)
    tracking.mirror(params, exported.layout)
    assert aliases(client)["champion"] == "1"
    forcing = make_two(registry={"force": True})
    registration = tracking.mirror(forcing, exported.layout).registration
    assert aliases(client) == {"challenger": "2", "champion": "2"}
    assert registration.reason.startswith("registry.force is true; val/f1_macro 0.5000 against 0.7500 of version 1")
    tracking.rollback("roskd-phantom")
    tracking.mirror(forcing, exported.layout)
    assert aliases(client)["champion"] == "1", "what a person rolled back is not forced again"


def test_another_metric_may_decide(client, exported, params, make_two):
    tracking.mirror(params, exported.layout)
    exported.export_student("much better", right=38)
    by_auroc = make_two(registry={"metric": "auroc_macro"})
    assert tracking.mirror(by_auroc, exported.layout).registration.reason.startswith("val/auroc_macro 0.9500 against")


def test_a_champion_that_cannot_answer_is_not_compared(client, exported, params):
    tracking.mirror(params, exported.layout)
    exported.export_student("much better", right=38)
    exported.write_csv(exported.layout.labels, "sample_id,given,published,flipped", [("v0", "DF", "NV", 1)])
    registration = tracking.mirror(params, exported.layout).registration
    assert aliases(client) == {"challenger": "2", "champion": "1"}
    assert registration.reason.startswith("not compared with version 1: it cannot answer (")
    assert client.get_model_version("roskd-phantom", "2").tags["promotion"] == "not compared"


def test_what_made_a_version_stays_when_it_has_gone(client, exported, params):
    weights = exported.layout.teacher_weights(0, "subset", "resnet18")
    exported.write(weights, "weights of a teacher")
    tracking.mirror(params, exported.layout)
    before = client.get_model_version("roskd-phantom", "1").tags
    weights.unlink()
    tracking.register(params, exported.layout)
    assert client.get_model_version("roskd-phantom", "1").tags == before


def test_a_corrected_evaluation_corrects_the_version(client, exported, params):
    tracking.mirror(params, exported.layout)
    exported.export_student("first weights", right=38)
    tracking.mirror(params, exported.layout)
    tags = client.get_model_version("roskd-phantom", "1").tags
    assert float(tags["val/f1_macro"]) == pytest.approx(0.9500, abs=1e-4)
    assert float(tags["val/f1_macro.interval"].split(" to ")[0]) > 0.8


WRITES = ("set_registered_model_alias", "set_registered_model_tag", "set_model_version_tag", "update_model_version")


def kill_at(patch, nth: int) -> list[str]:
    """Let the nth write to the registry be the one that a kill prevents; the writes are listed as they come."""
    seen: list[str] = []

    def counted(name, original):
        def write(self, *arguments, **named):
            seen.append(name)
            if len(seen) == nth:
                raise KeyboardInterrupt
            return original(self, *arguments, **named)

        return write

    for name in WRITES:
        patch.setattr(MlflowClient, name, counted(name, getattr(MlflowClient, name)))
    return seen


def test_a_run_killed_between_two_writes_is_continued(client, exported, params, monkeypatch):
    tracking.mirror(params, exported.layout)
    exported.export_student("much better", right=38)
    with monkeypatch.context() as patch:
        kill_at(patch, 1)
        with pytest.raises(KeyboardInterrupt):
            tracking.mirror(params, exported.layout)
    assert aliases(client) == {"challenger": "1", "champion": "1"}
    for nth in range(1, 9):
        store = exported.root / f"killed{nth}.db"
        shutil.copy(exported.root / "mlflow.db", store)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{store}")
        copy = MlflowClient(f"sqlite:///{store}")
        with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
            writes = kill_at(patch, nth)
            tracking.register(params, exported.layout)
        assert "champion" in aliases(copy), "a champion is never lost"
        tracking.register(params, exported.layout)
        version = copy.get_model_version("roskd-phantom", "2")
        assert aliases(copy) == {"challenger": "2", "champion": "2"}
        assert (version.tags["promotion"], version.tags["roskd.judged"]) == ("better", "by rule")
        assert version.description.startswith("better: val/f1_macro 0.9500 against 0.7500 of version 1")
        assert Succession(copy, "roskd-phantom").champions() == ["1", "2"]
        assert len(copy.search_model_versions("name = 'roskd-phantom'")) == 2
    assert len(writes) == 7, "the last round was not killed"


def test_registering_by_itself_does_as_the_last_stage_does(client, exported, params):
    first = tracking.mirror(params, exported.layout).registration
    again = tracking.register(params, exported.layout)
    assert (again.version, again.aliases, again.created) == (first.version, first.aliases, False)


def test_without_roskd_the_last_method_is_registered(client, exported, make_two):
    exported.export_student("weights of a plain student", right=38, method="baseline_1-last")
    tracking.mirror(make_two(methods=["baseline_3", "baseline_1"]), exported.layout)
    version = client.get_model_version("roskd-phantom", "1")
    assert (version.tags["method"], version.tags["teachers"]) == ("baseline_1", "{}")
    assert float(version.tags["val/f1_macro"]) == pytest.approx(0.9500, abs=1e-4)
    assert client.get_run(version.run_id).data.tags["roskd.name"] == "baseline_1/seed0"
    linked = client.get_logged_model(version.source.removeprefix("models:/")).metrics
    assert {metric.key: metric.value for metric in linked}["test/f1_macro"] == 0.5


def test_a_student_without_predictions_is_named(client, exported, params):
    exported.layout.predictions(0, "roskd", "smoothed").write_bytes(b"no npz")
    with pytest.raises(UserError, match=r"roskd-smoothed\.npz: cannot be read .*; run make repro"):
        tracking.mirror(params, exported.layout)


def test_a_store_that_does_not_exist_holds_no_model_and_is_not_made(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    assert not tracking.model_exists("models:/roskd-phantom@champion")
    assert not (tmp_path / "mlflow.db").exists()
