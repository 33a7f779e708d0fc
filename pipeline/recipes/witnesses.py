"""What the trained networks say about labels: teachers that never saw the sample, and the plain student that did."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pipeline.common.errors import UserError
from pipeline.common.labels import indicator
from pipeline.common.layout import Layout
from pipeline.data.prepared import Prepared
from pipeline.distillation.methods import METHODS, PLAIN, runs_of, teachers_needed
from pipeline.evaluation.metrics import probabilities
from pipeline.evaluation.predictions import read_logits
from pipeline.params.tree import Params
from pipeline.recipes.workshop import Data
from pipeline.report.suspects import Voter

AUDITED = ("train", "val")
SIGNALS = ("aum", "disagreed", "loss")


def audited_rows(prepared: Prepared) -> np.ndarray:
    """Return the rows of images.npy whose labels are judged: training, then validation."""
    return np.concatenate([prepared.rows(split) for split in AUDITED])


def voters(params: Params, layout: Layout, data: Data) -> Iterator[Voter]:
    """Return the teachers on subsets, of all seeds; none of them trained on the validation split.

    Raises UserError for answers that cannot be read, or are those of other data or classes.
    """
    prepared, names = data.prepared(params), teachers_needed(params.methods, "subset", params.teacher_names("subset"))
    members = data.members(params) if names else {}
    shape = (len(prepared.rows("train")), len(prepared.classes))
    for seed in params.seeds:
        for name in names:
            stored = _answers(layout.answers(seed, "subset", name), shape)
            of_train = np.mean([probabilities(params.task, view.astype(np.float64)) for view in stored], axis=0)
            logits = read_logits(layout.teacher_predictions(seed, "subset", name))[params.teachers.checkpoint]["val"]
            of_val = probabilities(params.task, logits)
            unseen = np.concatenate([~members[name], np.ones(len(of_val), dtype=bool)])
            title = name if len(params.seeds) == 1 else f"{name}, seed {seed}"
            yield Voter(title, np.concatenate([of_train, of_val]), unseen)


def plain_signals(params: Params, layout: Layout, prepared: Prepared) -> dict[str, np.ndarray]:
    """Return what the plain student's training says of each audited label, means over seeds; nothing without one.

    `aum`: mean margin; `disagreed`: share of the epochs in which it answered another label; `loss`: of the last epoch's
    weights. Each is (N,), with several findings (N, C), NaN on validation.
    """
    if PLAIN not in runs_of(params.methods):
        return {}
    given = prepared.given[prepared.rows("train")]
    of_seeds: dict[str, list[np.ndarray]] = {name: [] for name in SIGNALS}
    for seed in params.seeds:
        with np.load(layout.student_margins(seed, None, PLAIN)) as arrays:
            for name in ("aum", "disagreed"):
                of_seeds[name].append(arrays[name])
        logits = read_logits(layout.student_predictions(seed, None, PLAIN))[METHODS[PLAIN].checkpoint]["train"]
        of_seeds["loss"].append(_losses(probabilities(params.task, logits.astype(np.float64)), given))
    of_val = np.full((len(prepared.rows("val")), *given.shape[1:]), np.nan)
    return {name: np.concatenate([np.mean(values, axis=0), of_val]) for name, values in of_seeds.items()}


def _answers(path: Path, shape: tuple[int, int]) -> np.ndarray:
    try:
        stored = np.load(path, mmap_mode="r")
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}). Run make repro again, which makes it") from error
    if stored.shape[1:] != shape:
        raise UserError(
            f"{path}: answers of {stored.shape[1:]} samples and classes, training has {shape}; they are those "
            "of other data. Delete it and run make repro again"
        )
    return stored


def _losses(chances: np.ndarray, given: np.ndarray) -> np.ndarray:
    """The cross-entropy of each label, several findings each on their own; `chances`: (N, C)."""
    of_classes = given.ndim == 1
    own = chances[indicator(given, chances.shape[1])] if of_classes else np.where(given > 0, chances, 1 - chances)
    return -np.log(np.maximum(own, np.finfo(np.float64).tiny))
