"""The data set as an input of the runs: its hash and its counts, once, and no sample."""

import json
import os
import shutil
import sqlite3

import pytest
from mlflow import MlflowClient
from mlflow.data import get_source
from mlflow.data.schema import TensorDatasetSchema

from pipeline import tracking
from pipeline.common.errors import UserError
from pipeline.tracking.dataset import dataset_input
from pipeline.tracking.runs import read_state
from pipeline.tracking.session import open_session


@pytest.fixture
def client(finished) -> MlflowClient:
    return MlflowClient(os.environ["MLFLOW_TRACKING_URI"])


def all_runs(client: MlflowClient) -> list:
    return client.search_runs([client.get_experiment_by_name("roskd-phantom").experiment_id])


def rows(database, table: str) -> int:
    with sqlite3.connect(database) as connection:
        return connection.execute(f"select count(*) from {table}").fetchone()[0]


def rewrite(finished, **changed: object) -> None:
    report = json.loads((finished.layout.data_report).read_text())
    finished.write(finished.layout.data_report, json.dumps(report | changed))


def test_the_parent_and_every_child_name_the_data_once(client, finished, params):
    tracking.mirror(params, finished.layout)
    tracking.mirror(params, finished.layout)
    database = finished.root / "mlflow.db"
    assert (rows(database, "datasets"), rows(database, "inputs"), rows(database, "input_tags")) == (1, 13, 13)
    runs = all_runs(client)
    assert len(runs) == 13
    for run in runs:
        (found,) = run.inputs.dataset_inputs
        assert (found.dataset.name, found.dataset.digest) == ("roskd-phantom", "d" * 16)
        assert {tag.key: tag.value for tag in found.tags} == {"mlflow.data.context": "training"}


def test_what_the_tracker_shows_of_the_data(finished, params):
    found = dataset_input(read_state(params, finished.layout)).dataset
    assert json.loads(found.profile) == {
        "num_rows": 3,
        "num_groups": 2,
        "num_quarantined": 1,
        "counts": {"NV": 2, "DF": 1},
        "sha256": "d" * 64,
    }
    assert "broken_7" not in json.dumps(found.to_dictionary()), "no sample id leaves the machine this way"
    schema = TensorDatasetSchema.from_dict(json.loads(found.schema))
    assert [(spec.type.name, spec.shape) for spec in schema.features] == [("uint8", (-1, 32, 32, 3))]
    assert [(spec.type.name, spec.shape) for spec in schema.targets] == [("int64", (-1,))]
    assert get_source(found).to_dict() == {"uri": "pipeline/data/phantom.py"}


def test_several_findings_are_a_vector(finished, params):
    rewrite(finished, task="multilabel", channels=1)
    schema = json.loads(dataset_input(read_state(params, finished.layout)).dataset.schema)
    targets = TensorDatasetSchema.from_dict(schema).targets
    assert [(spec.type.name, spec.shape) for spec in targets] == [("float32", (-1, 2))]


def test_a_deleted_store_gets_it_back(client, finished, migrated, params, monkeypatch):
    tracking.mirror(params, finished.layout)
    again = finished.root / "again.db"
    shutil.copy(migrated, again)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{again}")
    tracking.mirror(params, finished.layout)
    assert (rows(again, "datasets"), rows(again, "inputs")) == (1, 13)


def test_runs_without_one_are_given_theirs(client, finished, params):
    tracking.mirror(params, finished.layout)
    before = {run.info.run_id for run in all_runs(client)}
    with sqlite3.connect(finished.root / "mlflow.db") as connection:
        for table in ("input_tags", "inputs", "datasets"):
            connection.execute(f"delete from {table}")
    tracking.mirror(params, finished.layout)
    assert {run.info.run_id: len(run.inputs.dataset_inputs) for run in all_runs(client)} == dict.fromkeys(before, 1)


def test_a_live_run_shows_it_from_its_start(client, layout, params):
    with tracking.live_run(params, layout, tracking.student(params, layout, 0, "baseline_4")):
        assert [len(run.inputs.dataset_inputs) for run in all_runs(client)] == [1, 1]


def test_other_data_are_another_dataset_of_another_parent(client, finished, params):
    for digit in "de":
        rewrite(finished, sha256=digit * 64)
        open_session(params, finished.layout)
    digests = [run.inputs.dataset_inputs[0].dataset.digest for run in all_runs(client)]
    assert sorted(digests) == ["d" * 16, "e" * 16]


def test_a_report_of_older_code_is_named(finished, params):
    finished.write(finished.layout.data_report, json.dumps({"sha256": "d" * 64, "classes": ["NV", "DF"]}))
    with pytest.raises(UserError, match=r"report\.json: has no field source, task, image_size, .*run make repro again"):
        tracking.mirror(params, finished.layout)


def test_a_changed_noise_matrix_is_another_state(finished, make_two):
    noisy, params = (make_two(noise={"kind": kind, "matrix": "matrix.csv"}) for kind in ("matrix", "pair"))
    keys = []
    for text in (",NV,DF\nNV,0,1\nDF,1,0\n", ",NV,DF\nNV,1,0\nDF,1,0\n"):
        finished.write("matrix.csv", text)
        keys.append((read_state(noisy, finished.layout).key, read_state(params, finished.layout).key))
    assert keys[0][0] != keys[1][0]
    assert keys[0][1] == keys[1][1], "a matrix that is not in use does not matter"
