"""The data set as MLflow shows it: name, hash, shapes and counts; no image, no sample id."""

import json
from typing import TYPE_CHECKING

import numpy as np

from pipeline.tracking.runs import State

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput

DIGEST_LENGTH = 16
"""Hex digits of the data hash that the pages show, of at most 36; the whole hash is in the profile and in a tag."""
CONTEXT = {"mlflow.data.context": "training"}


def dataset_input(state: State) -> "DatasetInput":
    """The prepared data of a state as the input of one of its runs.

    MLflow keeps one profile per name and digest, the first that it is given, so it holds only what the hash decides:
    nothing of splits, noise or subsets.
    """
    from mlflow.data.schema import TensorDatasetSchema
    from mlflow.entities import Dataset, DatasetInput, InputTag
    from mlflow.types import Schema, TensorSpec

    data = state.data
    size = data["image_size"]
    several = data["task"] == "multilabel"
    targets = (
        TensorSpec(np.dtype("float32"), (-1, len(data["classes"]))) if several else TensorSpec(np.dtype("int64"), (-1,))
    )
    features = TensorSpec(np.dtype("uint8"), (-1, size, size, data["channels"]))
    profile = {
        "num_rows": data["images"],
        "num_groups": data["groups"],
        "num_quarantined": len(data["quarantined"]),
        "counts": data["counts"],
        "sha256": state.data_hash,
    }
    dataset = Dataset(
        name=f"roskd-{state.params['data.source']}",
        digest=state.data_hash[:DIGEST_LENGTH],
        source_type="local",
        source=json.dumps({"uri": state.params["data.path"]}),
        schema=json.dumps(TensorDatasetSchema(Schema([features]), Schema([targets])).to_dict()),
        profile=json.dumps(profile),
    )
    return DatasetInput(dataset, [InputTag(key, value) for key, value in CONTEXT.items()])
