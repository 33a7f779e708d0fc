"""Stage `audit`: the labels that teachers who never saw the sample doubt most, as a table and a page to correct in.

Beside them the images that look like ones of other groups.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from pipeline.common.files import write_json
from pipeline.common.labels import decode, indicator
from pipeline.common.layout import Layout
from pipeline.common.tables import read_csv, write_csv
from pipeline.data.near_duplicates import Matches, near_duplicates
from pipeline.data.prepared import Prepared, PreparedData
from pipeline.evaluation.audit import (
    Quality,
    Votes,
    combined_score,
    confident_joint,
    doubt_order,
    label_quality,
    noise_rate,
    unseen_votes,
)
from pipeline.evaluation.known_noise import ORDER_COLUMNS, curves, known
from pipeline.params.tree import Params
from pipeline.recipes.embedding import embedding
from pipeline.recipes.witnesses import AUDITED, audited_rows, plain_signals, voters
from pipeline.recipes.workshop import open_workshop
from pipeline.report.audit_page import write_page
from pipeline.report.suspects import suspects

PAIR_COLUMNS = (
    "sample_id", "duplicate_of", "similarity", "group_id", "group_of", "split", "split_of", "given", "given_of",
)  # fmt: skip
"""The columns of audit/near_duplicates.csv."""


def run(params: Params, layout: Layout) -> None:
    """Write audit/: suspects.csv, near_duplicates.csv, orders.csv, summary.json and the page.

    Says so where no sample has a teacher that never saw it; there is no page then.
    """
    data = PreparedData(layout, params.task)
    prepared = data.prepared(params)
    rows = audited_rows(prepared)
    voting = list(voters(params, layout, data))
    votes = unseen_votes(((one.probabilities, one.unseen) for one in voting), (len(rows), len(prepared.classes)))
    alike = near_duplicates(prepared.images, prepared.groups, prepared.split, params.audit.near_duplicate)
    quality, signals = label_quality(params.task, votes, prepared.given[rows]), plain_signals(params, layout, prepared)
    table = _table(prepared, rows, votes, quality, signals, alike)
    wrong = _wrong(layout, prepared, rows, table)
    pairs = _pairs(prepared, alike)
    summary = _summary(params, prepared, rows, votes, table, wrong) | {"near_duplicates": _leaks(pairs)}
    write_csv(layout.suspects, table)
    write_csv(layout.near_duplicates, pairs)
    write_csv(layout.orders, list(curves(table, wrong)), ORDER_COLUMNS)
    write_json(layout.audit_summary, summary)
    layout.audit_page.unlink(missing_ok=True)  # of an earlier audit
    if len(table):
        space = embedding(open_workshop(params, layout), params, layout)
        shown = suspects(
            table, voting, prepared, rows, space, shown=params.audit.shown, neighbours=params.audit.neighbours
        )
        title = f"Label audit: {params.data.source}"
        write_page(
            layout.audit_page, shown, classes=prepared.classes, task=params.task, title=title, data_key=data.digest
        )
    print(_told(summary), flush=True)


def _table(
    prepared: Prepared,
    rows: np.ndarray,
    votes: Votes,
    quality: Quality,
    signals: Mapping[str, np.ndarray],
    alike: Matches,
) -> pd.DataFrame:
    """One row per sample that somebody voted on, or per sample and finding, the most doubtful first."""
    labels, other = prepared.given[rows], alike.place[rows]
    columns: dict[str, Any] = {
        "sample_id": prepared.sample_ids[rows],
        "group_id": prepared.groups[rows],
        "split": prepared.split[rows],
        "duplicate_of": np.where(other >= 0, prepared.sample_ids[other], ""),
        "votes": votes.count,
    }
    if prepared.task == "multiclass":
        columns |= {
            "given": decode(labels, prepared.classes),
            "suggested": decode(quality.suggested, prepared.classes),
            "self_confidence": quality.confidence,
            "margin": quality.margin,
            **signals,
        }
        table = pd.DataFrame(columns)
    else:
        findings = []
        for place, name in enumerate(prepared.classes):
            own = {
                "finding": name,
                "given": np.where(labels[:, place] > 0, name, ""),
                "suggested": np.where(quality.suggested[:, place], name, ""),
                "self_confidence": quality.confidence[:, place],
                "margin": quality.margin[:, place],
                **{key: values[:, place] for key, values in signals.items()},
            }
            findings.append(pd.DataFrame(columns | own))
        table = pd.concat(findings, ignore_index=True)
    judged = table.loc[table["votes"] > 0]
    ranked = [judged[name].to_numpy(dtype=float) for name in ("self_confidence", *(("aum",) if signals else ()))]
    judged = judged.assign(score=combined_score(*ranked))
    found = judged.iloc[doubt_order(judged["score"].to_numpy())].reset_index(drop=True)
    return found.assign(rank=np.arange(1, len(found) + 1)).round(6)


def _pairs(prepared: Prepared, alike: Matches) -> pd.DataFrame:
    """One row for each image that looks like one of another group: leaks between splits first, then by similarity."""
    rows = np.flatnonzero(alike.place >= 0)
    others = alike.place[rows]
    labels = np.array(decode(prepared.given, prepared.classes), dtype=object)
    values = [
        prepared.sample_ids[rows], prepared.sample_ids[others], alike.similarity[rows].round(4),
        prepared.groups[rows], prepared.groups[others], prepared.split[rows], prepared.split[others],
        labels[rows], labels[others],
    ]  # fmt: skip
    table = pd.DataFrame(dict(zip(PAIR_COLUMNS, values, strict=True)))
    within = (table["split"] == table["split_of"]).to_numpy()
    return table.iloc[np.lexsort((-alike.similarity[rows], within))].reset_index(drop=True)


def _leaks(pairs: pd.DataFrame) -> dict[str, int]:
    """How many images look like one of another group, of another split, and with another label."""
    return {
        "images": len(pairs),
        "across_splits": int((pairs["split"] != pairs["split_of"]).sum()),
        "conflicting": int((pairs["given"] != pairs["given_of"]).sum()),
    }


def _wrong(layout: Layout, prepared: Prepared, rows: np.ndarray, table: pd.DataFrame) -> np.ndarray:
    """Which rows of the table are labels that noise changed, bool; a corrected one counts as right."""
    flipped = read_csv(layout.labels, ["flipped"])["flipped"].to_numpy()[rows] == "1"
    place = {sample: number for number, sample in enumerate(prepared.sample_ids[rows])}
    numbers = np.array([place[sample] for sample in table["sample_id"]], dtype=int)
    if "finding" not in table:
        return flipped[numbers]
    given, published = (
        indicator(labels[rows], len(prepared.classes)) for labels in (prepared.given, prepared.published)
    )
    column = np.array([prepared.classes.index(name) for name in table["finding"]], dtype=int)
    return flipped[numbers] & (given[numbers, column] != published[numbers, column])


def _summary(
    params: Params, prepared: Prepared, rows: np.ndarray, votes: Votes, table: pd.DataFrame, wrong: np.ndarray
) -> dict[str, Any]:
    """How many were judged, the estimated noise, and where the truth is known how good the order is."""
    without = {split: int((votes.count[prepared.split[rows] == split] == 0).sum()) for split in AUDITED}
    summary: dict[str, Any] = {
        "samples": len(rows),
        "without_unseen_teacher": without,
        "votes": float(votes.count.mean()),
    }
    if not len(table):
        return summary
    joints = list(_joints(params, prepared, rows, votes))
    summary["estimated_rate"] = float(np.mean([noise_rate(joint) for joint in joints]))
    if params.task == "multiclass":
        voted = int((votes.count > 0).sum())
        summary["estimated_counts"] = np.round(joints[0].T * voted).astype(int).tolist()
    if wrong.any():
        summary["known"] = known(table, wrong)
    return summary


def _joints(params: Params, prepared: Prepared, rows: np.ndarray, votes: Votes) -> Iterator[np.ndarray]:
    """The estimated joint of given and true labels; multilabel: of absence and presence, for each finding."""
    given = prepared.given[rows]
    if params.task == "multiclass":
        yield confident_joint(votes.mean, given)
        return
    for place in range(len(prepared.classes)):
        present = votes.mean[:, place]
        yield confident_joint(np.stack([1 - present, present], axis=1), (given[:, place] > 0).astype(np.int64))


def _told(summary: dict[str, Any]) -> str:
    missing = summary["without_unseen_teacher"]
    if "estimated_rate" not in summary:
        return (
            "audit: no sample has a teacher that never saw it, so no label was judged. Name a method with teachers on "
            "subsets in `methods` (roskd), two teachers at least, and a subsets.overlap below 1"
        )
    known = summary.get("known")
    judged = f"audit: {summary['samples'] - sum(missing.values()):,} labels judged, {summary['estimated_rate']:.1%}"
    text = f"{judged} of them estimated to be wrong"
    if any(missing.values()):
        text += f"; {sum(missing.values()):,} samples have no teacher that never saw them (lower subsets.overlap)"
    return text + (f"; average precision {known['average_precision']:.3f} against the injected noise" if known else "")
