"""The prepared images under other splits, noise and subsets: what a study varies before anything is trained."""

import json

import numpy as np

from pipeline.common.errors import UserError
from pipeline.common.files import sha256_json
from pipeline.common.layout import Layout
from pipeline.data import splits
from pipeline.data.given import given_labels
from pipeline.data.prepared import Prepared, open_images, read_report, read_samples
from pipeline.data.subsets import members_of
from pipeline.params.tree import Params, of_images


class Variants:
    """The images of artifacts/data with the splits, labels and subsets that given parameters ask for."""

    def __init__(self, layout: Layout, params: Params) -> None:
        """Raises UserError where the images are not prepared, or were prepared for other parameters."""
        report = read_report(layout)
        _require_same_images(layout, report["params"], params)
        self.digest: str = report["sha256"]
        self._samples, self._images = read_samples(layout, params.task), open_images(layout)
        self._known: dict[str, Prepared] = {}
        self._members: dict[str, dict[str, np.ndarray]] = {}

    def prepared(self, params: Params) -> Prepared:
        """Return the data as the stages split and noise would make it. Raises UserError as they do."""
        key = sha256_json([params.split.model_dump(mode="json"), params.noise.model_dump(mode="json")])
        if key not in self._known:
            samples = self._samples
            split = splits.assign(samples.table, samples.published, samples.classes, params.split)
            labels = given_labels(params, samples, split, self._images)
            self._known[key] = Prepared(
                task=params.task,
                classes=samples.classes,
                images=self._images,
                sample_ids=samples.ids,
                groups=samples.groups,
                split=split,
                given=labels.given,
                published=samples.published,
            )
        return self._known[key]

    def members(self, params: Params) -> dict[str, np.ndarray]:
        """Return {teacher: bool (N_train,)}, as the stage subsets would make it."""
        sections = (params.split, params.noise, params.subsets)
        key = sha256_json([params.teacher_names("full"), *(section.model_dump(mode="json") for section in sections)])
        if key not in self._members:
            self._members[key] = members_of(self.prepared(params), params)
        return self._members[key]


def _require_same_images(layout: Layout, made: dict[str, object], params: Params) -> None:
    for name, wanted in json.loads(json.dumps(of_images(params))).items():
        if name not in made or made[name] != wanted:
            was = made.get(name, "something else")
            raise UserError(
                f"{layout.data_report}: the images were prepared for {name} {was}, not {wanted}; run `dvc repro noise` "
                "first (make study does)"
            )
