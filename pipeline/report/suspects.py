"""The most doubtful samples as the page of the audit shows them: votes, and the most similar images."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.preprocessing import normalize

from pipeline.common.labels import decode
from pipeline.data.prepared import Prepared
from pipeline.evaluation.nearest import nearest
from pipeline.report.audit_page import Neighbour, Suspect, Vote


@dataclass(frozen=True)
class Voter:
    """A teacher: its name, its probabilities (N, C) for the audited samples, and which of these it never saw."""

    name: str
    probabilities: np.ndarray
    unseen: np.ndarray


def suspects(
    table: pd.DataFrame,
    voters: Sequence[Voter],
    prepared: Prepared,
    rows: np.ndarray,
    embedding: np.ndarray,
    *,
    shown: int,
    neighbours: int,
) -> list[Suspect]:
    """Return the `shown` most doubtful samples of suspects.csv, each once, with so many similar images.

    `rows`: the N audited rows of images.npy, in the order of the voters'; `embedding`: (N_all, F) of all images, whose
    cosine similarity decides what is near.
    """
    place = {str(sample): number for number, sample in enumerate(prepared.sample_ids[rows])}
    chosen = table.drop_duplicates("sample_id").head(shown)
    places = np.array([place[str(sample)] for sample in chosen["sample_id"]])
    suggested = _suggested(table, prepared, rows, place)
    near = _nearest(embedding, rows, places, neighbours)
    given = decode(prepared.given[rows], prepared.classes)
    found = []
    for number, row, around in zip(places, chosen.to_dict("records"), near, strict=True):
        others = tuple(
            Neighbour(str(prepared.sample_ids[rows[one]]), given[one], np.asarray(prepared.images[rows[one]]))
            for one in around
        )
        votes = tuple(
            Vote(voter.name, tuple(voter.probabilities[number].tolist())) for voter in voters if voter.unseen[number]
        )
        found.append(
            Suspect(
                sample_id=str(row["sample_id"]),
                group_id=str(row["group_id"]),
                split=str(row["split"]),
                given=given[number],
                suggested=suggested[number],
                score=float(row["score"]),
                confidence=float(row["self_confidence"]),
                thumbnail=np.asarray(prepared.images[rows[number]]),
                votes=votes,
                neighbours=others,
            )
        )
    return found


def _suggested(table: pd.DataFrame, prepared: Prepared, rows: np.ndarray, place: dict[str, int]) -> list[str]:
    """The label that the votes suggest for each audited sample; of several findings, with all that they change."""
    if "finding" not in table:
        texts = decode(prepared.given[rows], prepared.classes)
        for sample, text in zip(table["sample_id"], table["suggested"], strict=True):
            texts[place[str(sample)]] = str(text)
        return texts
    findings = np.array(prepared.given[rows])
    column = {name: number for number, name in enumerate(prepared.classes)}
    for sample, finding, text in zip(table["sample_id"], table["finding"], table["suggested"], strict=True):
        findings[place[str(sample)], column[finding]] = float(text != "")
    return decode(findings, prepared.classes)


def _nearest(embedding: np.ndarray, rows: np.ndarray, places: np.ndarray, count: int) -> list[list[int]]:
    """The audited samples nearest to each of `places`, the nearest first, without itself."""
    if not count or len(rows) <= count:
        return [[] for _ in places]
    known = np.asarray(normalize(embedding[rows].astype(np.float32)))
    similarity, found = nearest(known[places], known, count + 1)
    order = np.argsort(-similarity, axis=1, kind="stable")
    return [
        [int(one) for one in around[ranks] if one != own][:count]
        for own, around, ranks in zip(places, found, order, strict=True)
    ]
