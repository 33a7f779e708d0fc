"""A challenger meets the champion on the challenger's validation set, by stored answers where the data is the same."""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from models.errors import ModelError
from models.images import Resize
from pipeline.common.errors import UserError, first_line
from pipeline.common.layout import Layout
from pipeline.common.tables import read_csv
from pipeline.data.prepared import open_images
from pipeline.evaluation.metrics import primary_metric
from pipeline.params.tree import Params
from pipeline.tracking.fetch import download
from pipeline.tracking.promotion import Verdict, compare, forced
from pipeline.tracking.versions import VALIDATION, Challenger, differences

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

BLOCK = 256
"""Images that a champion is shown at once."""


class RefusalError(Exception):
    """Why two versions cannot be compared."""


DecodeAgain = Callable[[Sequence[str], int, Resize], Iterator[np.ndarray]]
"""Yields samples by their ids, in order, in blocks of uint8 (B, size, size, channels) at another size and resize."""


def judge(
    params: Params,
    layout: Layout,
    challenger: Challenger,
    carried: dict[str, str],
    champion: "ModelVersion | None",
    decode_again: DecodeAgain | None,
) -> Verdict:
    """Return whether the challenger becomes champion, and why; `carried` are its version's tags.

    Without a champion it does. Where data, validation set, labels and classes agree, the champion's answers are those
    that were stored with it; otherwise it is evaluated anew on the challenger's validation set, at its own image size,
    which favours it where it was trained on some of these images. Where that is impossible, the two are not compared.
    """
    if champion is None:
        return Verdict("first", "there was no champion")
    title, differing = str(champion.version), differences(champion, carried)
    try:
        logits, anew = _answers(layout, challenger, champion, differing, decode_again)
    except RefusalError as refusal:
        verdict = Verdict("not compared", f"not compared with version {title}: {refusal}")
    else:
        metric = params.registry.metric or primary_metric(params.task)
        verdict = compare(challenger.val, logits, title, metric, params.split.seed)
        if anew:
            cause = _listed(differing) if differing else "its answers were not kept"
            why = f"{cause}, so version {title} was evaluated anew; it may know some of these images"
            verdict = Verdict(verdict.outcome, f"{verdict.reason} ({why})")
    return forced(verdict) if params.registry.force else verdict


def _answers(
    layout: Layout,
    challenger: Challenger,
    champion: "ModelVersion",
    differing: list[str],
    decode_again: DecodeAgain | None,
) -> tuple[np.ndarray, bool]:
    """The champion's logits (V, C) on the challenger's validation set, and whether they were computed for it."""
    fatal = [meaning for meaning in differing if meaning in ("the task", "the classes")]
    if fatal:
        raise RefusalError(_listed(fatal))
    with tempfile.TemporaryDirectory() as folder:
        try:
            files = download(champion.name, str(champion.version), Path(folder)).files
            stored = np.load(files[VALIDATION]) if not differing and VALIDATION in files else None
            if stored is not None and stored.shape == challenger.val.logits.shape:
                return stored, False
            return _anew(layout, challenger, files, decode_again), True
        except (UserError, ModelError, OSError, KeyError) as error:
            raise RefusalError(f"it cannot answer ({first_line(error)})") from error


def _anew(
    layout: Layout, challenger: Challenger, files: Mapping[str, Path], decode_again: DecodeAgain | None
) -> np.ndarray:
    """Let a version's ONNX file answer the validation images, as they are prepared now or decoded as it takes them."""
    from models.predictor import Predictor

    predictor = Predictor(files["onnx"])
    images = open_images(layout)
    if images.shape[-1] != predictor.channels:
        raise RefusalError(f"it takes images of {predictor.channels} channels, the data has {images.shape[-1]}")
    if (images.shape[1], challenger.resize) == (predictor.image_size, predictor.resize):
        pixels = _prepared(layout, images, challenger)
    elif decode_again is None:
        raise RefusalError(f"it takes images of {predictor.image_size} px, the data is prepared at {images.shape[1]}")
    else:
        pixels = decode_again(list(challenger.ids), predictor.image_size, predictor.resize)
    blocks = [predictor.probabilities(block) for block in pixels]
    found = np.concatenate(blocks).astype(np.float64).clip(np.finfo(np.float32).tiny, 1 - 1e-12)
    # logits of the same probabilities: all that the metrics ask of them
    return np.log(found) if challenger.val.task == "multiclass" else np.log(found) - np.log1p(-found)


def _prepared(layout: Layout, images: np.ndarray, challenger: Challenger) -> Iterator[np.ndarray]:
    row_of = {name: row for row, name in enumerate(read_csv(layout.samples, ["sample_id"])["sample_id"])}
    rows = np.array([row_of[name] for name in challenger.ids])
    yield from (images[rows[start : start + BLOCK]] for start in range(0, len(rows), BLOCK))


def _listed(differing: list[str]) -> str:
    return f"{' and '.join(differing)} differ"
