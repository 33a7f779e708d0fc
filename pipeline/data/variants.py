"""The prepared data under other splits and other noise: what a study varies before anything is trained."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.common import layout as artifacts
from pipeline.common.errors import UserError
from pipeline.common.files import sha256_json
from pipeline.common.labels import encode
from pipeline.common.tables import read_csv
from pipeline.data import splits
from pipeline.data.given import given_labels
from pipeline.data.prepared import Prepared
from pipeline.data.subsets import membership
from pipeline.params.tree import Params, of_images


class StudyData:
    """The images of artifacts/data with the splits, labels and subsets that given parameters ask for."""

    def __init__(self, params: Params) -> None:
        """Raises UserError where the images are not prepared, or for other parameters than these."""
        report = _read_report(params)
        self.digest: str = report["sha256"]
        self.classes = tuple(report["classes"])
        self.samples = read_csv(artifacts.SAMPLES)
        self.images = np.load(artifacts.IMAGES, mmap_mode="r")
        self._published = encode(self.samples["label"], self.classes, params.task, origin=str(artifacts.SAMPLES))
        self._known: dict[str, Prepared] = {}

    def prepared(self, params: Params) -> Prepared:
        """Return the data as the stages split and noise would make it. Raises UserError as they do."""
        key = sha256_json([params.split.model_dump(mode="json"), params.noise.model_dump(mode="json")])
        if key not in self._known:
            split = splits.assign(self.samples, self._published, self.classes, params.split)
            ids = self.samples["sample_id"].to_numpy(dtype=str)
            labels = given_labels(params, self.classes, ids, split, self._published, self.images)
            self._known[key] = Prepared(
                task=params.task,
                classes=self.classes,
                images=self.images,
                sample_ids=ids,
                groups=self.samples["group_id"].to_numpy(dtype=str),
                split=split,
                given=labels.given,
                published=self._published,
            )
        return self._known[key]

    def members(self, params: Params) -> dict[str, np.ndarray]:
        """Return {architecture: bool (N_train,)}, as the stage subsets would make it."""
        prepared, architectures = self.prepared(params), params.teachers.architectures
        rows = prepared.rows("train")
        groups = pd.factorize(prepared.groups[rows])[0]
        table = membership(prepared.given[rows], groups, len(self.classes), len(architectures), params.subsets)
        return dict(zip(architectures, table.T, strict=True))


def digest_of(*arrays: np.ndarray) -> str:
    """Return the hex SHA-256 of the shapes, types and bytes of arrays."""
    found = hashlib.sha256()
    for array in arrays:
        found.update(f"{array.dtype}{array.shape}".encode())
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def _read_report(params: Params) -> dict:
    path: Path = artifacts.DATA_REPORT
    remedy = "run `dvc repro noise` first (make study does)"
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file, a study needs the prepared images; {remedy}") from None
    made, wanted = report.get("params", {}), json.loads(json.dumps(of_images(params)))
    for name in wanted:
        if name not in made or made[name] != wanted[name]:
            was = made.get(name, "something else")
            raise UserError(f"{path}: the images were prepared for {name} {was}, not {wanted[name]}; {remedy}")
    return report
