"""The label audit: one self-contained page on which a clinician checks the most doubtful labels by keyboard."""

import base64
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from PIL import Image

from models.names import Task
from pipeline.common.files import write_text
from pipeline.common.labels import encode, indicator
from pipeline.report.templates import environment

LARGE, SMALL = 128, 96
"""The longer side of a suspect's and of a neighbour's thumbnail, in pixels; smaller ones are kept as they are."""
LOSSLESS = 32
"""Up to this side a thumbnail is a PNG: the page enlarges it until the artefacts of a JPEG would show."""
MEANS_HTML = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}
"""What could end a script element or begin markup, as JSON spells it without the character."""


@dataclass(frozen=True)
class Vote:
    """The answer of a teacher that did not train on the sample; `probabilities`: (C,), in the order of the classes."""

    teacher: str
    probabilities: tuple[float, ...]


@dataclass(frozen=True)
class Neighbour:
    """A similar image with its label; `thumbnail`: uint8 (H, W, 1 or 3)."""

    sample_id: str
    given: str
    thumbnail: np.ndarray


@dataclass(frozen=True)
class Suspect:
    """A sample whose label is doubtful.

    `given`, `suggested`: labels as text, several findings joined by `|`. The lowest `score`,
    the most doubtful, comes first; shown is the `confidence` in the given label, in [0, 1]. `thumbnail`: uint8 (H, W, 1
    or 3).
    """

    sample_id: str
    group_id: str
    split: str
    given: str
    suggested: str
    score: float
    confidence: float
    thumbnail: np.ndarray
    votes: tuple[Vote, ...]
    neighbours: tuple[Neighbour, ...] = ()


def write_page(
    path: Path, suspects: Sequence[Suspect], *, classes: Sequence[str], task: Task, title: str, data_key: str
) -> None:
    """Write the page; it needs no other file and no network.

    `data_key`: a hash of the data set, under which the browser keeps what was decided. The page sorts the suspects
    itself. A label of the split `test` can be looked at, not changed. Raises UserError for a label that is not among
    `classes`, and ValueError for a duplicated sample, a vote without C probabilities, or a number that is not finite.
    """
    ids = [suspect.sample_id for suspect in suspects]
    if len(set(ids)) < len(ids):
        raise ValueError(f"{path}: {len(ids) - len(set(ids))} of the suspects' sample ids are duplicated")
    images: dict[str, int] = {}
    content = {
        "key": data_key,
        "task": task,
        "classes": list(classes),
        "suspects": [_suspect(suspect, classes, task, images) for suspect in suspects],
    }
    template = environment().get_template("audit.html.j2")
    write_text(path, template.render(title=title, content=in_script(content), images=in_script(list(images))))


def in_script(content: Any) -> Markup:
    """Return JSON that holds nothing an HTML parser takes for markup, in ASCII; NaN and infinity raise ValueError."""
    text = json.dumps(content, allow_nan=False, separators=(",", ":"))
    for character, escape in MEANS_HTML.items():
        text = text.replace(character, escape)
    return Markup(text)


def _suspect(suspect: Suspect, classes: Sequence[str], task: Task, images: dict[str, int]) -> dict[str, Any]:
    """A suspect as the page's script reads it; its pictures are added to `images`, each once."""
    given, suggested = _positions([suspect.given, suspect.suggested], classes, task)
    labels = _positions((one.given for one in suspect.neighbours), classes, task)
    neighbours = [
        {"id": one.sample_id, "given": label, "image": _place(one.thumbnail, SMALL, images)}
        for one, label in zip(suspect.neighbours, labels, strict=True)
    ]
    return {
        "id": suspect.sample_id,
        "group": suspect.group_id,
        "split": suspect.split,
        "given": given,
        "suggested": suggested,
        "score": float(suspect.score),
        "confidence": float(suspect.confidence),
        "image": _place(suspect.thumbnail, LARGE, images),
        "votes": [_vote(vote, suspect, len(classes)) for vote in suspect.votes],
        "neighbours": neighbours,
    }


def _positions(labels: Iterable[str], classes: Sequence[str], task: Task) -> list[list[int]]:
    """The classes of each label, as ascending positions in `classes`."""
    present = indicator(encode(labels, classes, task, origin="label audit"), len(classes))
    return [np.flatnonzero(row).tolist() for row in present]


def _vote(vote: Vote, suspect: Suspect, C: int) -> dict[str, Any]:
    if len(vote.probabilities) != C:
        raise ValueError(
            f"{suspect.sample_id}: {vote.teacher} has {len(vote.probabilities)} probabilities, one for each of {C} "
            "classes is needed"
        )
    return {"teacher": vote.teacher, "probabilities": [round(float(one), 4) for one in vote.probabilities]}


def _place(thumbnail: np.ndarray, side: int, images: dict[str, int]) -> int:
    """The place of a picture among the page's images, which it is added to unless it is there."""
    return images.setdefault(data_uri(thumbnail, side), len(images))


def data_uri(thumbnail: np.ndarray, side: int) -> str:
    """Return uint8 pixels (H, W, 1 or 3), scaled down to at most `side`, as the data URI of a PNG or JPEG."""
    image = Image.fromarray(thumbnail[..., 0] if thumbnail.shape[-1] == 1 else thumbnail)
    image.thumbnail((side, side))
    buffer = io.BytesIO()
    kind = "png" if max(image.size) <= LOSSLESS else "jpeg"
    image.save(buffer, kind, **({"quality": 90, "subsampling": 0} if kind == "jpeg" else {}))
    return f"data:image/{kind};base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
