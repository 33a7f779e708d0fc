"""The recipe of a student's answers under shift: to corrupted test images, and to those of an external set."""

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from models.classifier import Classifier
from models.inference import predict, predict_blocks, to_device
from pipeline.common.files import atomic, sha256_file
from pipeline.common.layout import Layout
from pipeline.common.seeds import stream
from pipeline.data.external_set import External
from pipeline.data.prepared import Prepared
from pipeline.distillation.methods import METHODS
from pipeline.evaluation.corruptions import corrupt
from pipeline.evaluation.severities import suited
from pipeline.evaluation.shift import CLEAN
from pipeline.params.tree import Params
from pipeline.recipes.code import fingerprint
from pipeline.recipes.pretrained import decisive, weights_identity
from pipeline.recipes.store import Node, OnEpoch
from pipeline.recipes.trained import trained_student, weights_of
from pipeline.recipes.workshop import Workshop, digest_of
from pipeline.training.device import pick_device

ANSWERS = "answers.npy"
BLOCK = 512
"""Images that are corrupted at once."""


def kinds_of(params: Params, channels: int) -> tuple[str, ...]:
    """Return the corruptions that are asked for, or those that suit the images."""
    return params.robustness.corruptions.kinds or suited(params.views.preset, channels)


def shown_rows(params: Params, prepared: Prepared) -> np.ndarray:
    """Return the test images that are corrupted, ascending rows of images.npy; the same for all methods and seeds."""
    rows, wanted = prepared.rows("test"), params.robustness.corruptions.images
    if wanted is None or wanted >= len(rows):
        return rows
    return np.sort(stream(params.split.seed, "corrupted images", 0).choice(rows, wanted, replace=False))


class Tried:
    """One method's student of one seed, whose answers are taken from the store or asked for."""

    def __init__(self, workshop: Workshop, params: Params, layout: Layout, seed: int, method: str) -> None:
        self.prepared = workshop.data.prepared(params)
        self.method, self.seed, self.params = method, seed, params
        self._workshop, self._layout = workshop, layout
        self.rows = shown_rows(params, self.prepared)

    def corrupted(self, kind: str, advance: Callable[[int], None]) -> dict[int, np.ndarray]:
        """Return the logits on the images `rows` with one corruption, float32 (n, C), by severity; CLEAN has 0 alone.

        `advance` is called with the number of images that are done.
        """
        severities = (0,) if kind == CLEAN else self.params.robustness.corruptions.severities
        found = {}
        for severity in severities:
            seed = self.params.split.seed
            shown = {"data": self._data, "rows": digest_of(self.rows), "corruption": [kind, severity, seed]}
            blocks = partial(self._corrupted, kind, severity, seed)
            found[severity] = self._ask(f"{kind} {severity}", shown, blocks)
            advance(len(self.rows))
        return found

    def external(self, external: External, digest: str) -> np.ndarray:
        """Return the logits on the external images, float32 (M, C); `digest`: of what decides these."""
        return self._ask("the external images", {"external": digest}, lambda: [external.images])

    def _corrupted(self, kind: str, severity: int, seed: int) -> Iterator[np.ndarray]:
        for rows in np.split(self.rows, range(BLOCK, len(self.rows), BLOCK)):
            images = self.prepared.images[rows]
            yield images if kind == CLEAN else corrupt(images, rows, kind, severity, seed)

    def _ask(self, what: str, shown: dict[str, Any], blocks: Callable[[], Iterable[np.ndarray]]) -> np.ndarray:
        """Return the logits on images that come in blocks; `shown`: what decides these images.

        What a frozen backbone makes of them is stored once, for the heads of all methods and seeds.
        """
        network, device = self.params.student_network, self._device
        whole = network.train == "all"

        def make(folder: Path, on_epoch: OnEpoch) -> None:
            found = [predict(self._network, images, np.arange(len(images)), device) for images in blocks()]
            with atomic(folder / ANSWERS) as temporary:
                np.save(temporary, np.concatenate(found))

        asked = f"{METHODS[self.method].title} (seed {self.seed})" if whole else network.architecture
        node = Node("shift", f"answers of {asked} to {what}", self._decides | shown, (ANSWERS,), make)
        self._workshop.store.get([node])
        answers = np.load(self._workshop.store.file(node, ANSWERS))
        if whole:
            return answers
        return predict_blocks(self._head, [to_device(answers, device)], device)

    @cached_property
    def _data(self) -> str:
        return self._workshop.data.digest

    @cached_property
    def _classes(self) -> int:
        return len(self.prepared.classes)

    @cached_property
    def _decides(self) -> dict[str, Any]:
        """What decides an answer beside the images: the trained network, or the frozen backbone."""
        code, network = fingerprint(__name__), self.params.student_network
        if network.train == "head":
            return {"code": code, "backbone": network.architecture, "weights": weights_identity(network)}
        weights = sha256_file(weights_of(self._layout, self.seed, self.method))
        return {"code": code, "network": decisive(network), "weights": weights, "classes": self._classes}

    @cached_property
    def _device(self) -> torch.device:
        return pick_device(self.params.machine.device)

    @cached_property
    def _network(self) -> Classifier:
        """The student, or the frozen backbone that its head stands on."""
        student = trained_student(self.params, self._layout, self.seed, self.method, self._classes).to(self._device)
        if self.params.student_network.train == "head":
            student.head = nn.Identity()
        return student

    @cached_property
    def _head(self) -> nn.Module:
        return trained_student(self.params, self._layout, self.seed, self.method, self._classes).head.to(self._device)
