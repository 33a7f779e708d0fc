"""Stage `audit`: the labels that teachers who never saw the sample doubt most, as a table and a page to correct in."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from pipeline.common.files import atomic, write_json
from pipeline.common.labels import decode, indicator
from pipeline.common.layout import Layout
from pipeline.common.tables import read_csv
from pipeline.data.prepared import Prepared, PreparedData
from pipeline.distillation.methods import PLAIN, runs_of, teachers_needed
from pipeline.evaluation.audit import (
    Quality,
    Votes,
    average_precision,
    combined_score,
    confident_joint,
    doubt_order,
    label_quality,
    noise_rate,
    precision_at,
    unseen_votes,
)
from pipeline.evaluation.metrics import probabilities
from pipeline.evaluation.predictions import read_logits
from pipeline.params.tree import Params
from pipeline.recipes.embedding import embedding
from pipeline.recipes.workshop import open_workshop
from pipeline.report.audit_page import write_page
from pipeline.report.suspects import Voter, suspects

AUDITED = ("train", "val")
PRECISION_AT = (50, 100, 200)


def run(params: Params, layout: Layout) -> None:
    """Write audit/suspects.csv and audit/summary.json; says so where no sample has a teacher that never saw it."""
    data = PreparedData(layout, params.task)
    prepared = data.prepared(params)
    rows = np.concatenate([prepared.rows(split) for split in AUDITED])
    voters = list(_voters(params, layout, data, prepared))
    votes = unseen_votes(((one.probabilities, one.unseen) for one in voters), (len(rows), len(prepared.classes)))
    quality = label_quality(params.task, votes, prepared.given[rows])
    table = _table(params, layout, prepared, rows, votes, quality)
    with atomic(layout.suspects) as temporary:
        table.to_csv(temporary, index=False)
    summary = _summary(params, layout, prepared, rows, votes, table)
    write_json(layout.audit_summary, summary)
    layout.audit_page.unlink(missing_ok=True)  # of an earlier audit
    if len(table):
        space = embedding(open_workshop(params, layout), params, layout)
        shown = suspects(
            table, voters, prepared, rows, space, shown=params.audit.shown, neighbours=params.audit.neighbours
        )
        title = f"Label audit: {params.data.source}"
        write_page(
            layout.audit_page, shown, classes=prepared.classes, task=params.task, title=title, data_key=data.digest
        )
    print(_told(summary), flush=True)


def _voters(params: Params, layout: Layout, data: PreparedData, prepared: Prepared) -> Iterator[Voter]:
    """The teachers on subsets, of all seeds; none of them trained on the validation split."""
    names = teachers_needed(params.methods, "subset", params.teacher_names("subset"))
    members = data.members(params) if names else {}
    for seed in params.seeds:
        for name in names:
            stored = np.load(layout.answers(seed, "subset", name), mmap_mode="r")
            of_train = np.mean([probabilities(params.task, view.astype(np.float64)) for view in stored], axis=0)
            logits = read_logits(layout.teacher_predictions(seed, "subset", name))[params.teachers.checkpoint]["val"]
            of_val = probabilities(params.task, logits)
            unseen = np.concatenate([~members[name], np.ones(len(of_val), dtype=bool)])
            yield Voter(name, np.concatenate([of_train, of_val]), unseen)


def _table(
    params: Params, layout: Layout, prepared: Prepared, rows: np.ndarray, votes: Votes, quality: Quality
) -> pd.DataFrame:
    """One row per sample that somebody voted on, or per sample and finding, the most doubtful first."""
    labels, aum = prepared.given[rows], _margins(params, layout, prepared, rows)
    columns: dict[str, Any] = {
        "sample_id": prepared.sample_ids[rows],
        "group_id": prepared.groups[rows],
        "split": prepared.split[rows],
        "votes": votes.count,
    }
    if params.task == "multiclass":
        columns |= {
            "given": decode(labels, prepared.classes),
            "suggested": decode(quality.suggested, prepared.classes),
            "self_confidence": quality.confidence,
            "margin": quality.margin,
            **aum,
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
                **{key: values[:, place] for key, values in aum.items()},
            }
            findings.append(pd.DataFrame(columns | own))
        table = pd.concat(findings, ignore_index=True)
    judged = table.loc[table["votes"] > 0]
    signals = [judged[name].to_numpy(dtype=float) for name in ("self_confidence", *(("aum",) if aum else ()))]
    judged = judged.assign(score=combined_score(*signals))
    found = judged.iloc[doubt_order(judged["score"].to_numpy())].reset_index(drop=True)
    return found.assign(rank=np.arange(1, len(found) + 1)).round(6)


def _margins(params: Params, layout: Layout, prepared: Prepared, rows: np.ndarray) -> dict[str, np.ndarray]:
    """The plain student's mean margin and disagreement, NaN on validation; nothing where it was not trained."""
    if PLAIN not in runs_of(params.methods):
        return {}
    shape = (len(rows), *((len(prepared.classes),) if params.task == "multilabel" else ()))
    found = {name: np.full(shape, np.nan) for name in ("aum", "disagreed")}
    N = len(prepared.rows("train"))
    for name, values in found.items():
        stored = []
        for seed in params.seeds:
            with np.load(layout.student_margins(seed, None, PLAIN)) as arrays:
                stored.append(arrays[name])
        values[:N] = np.mean(stored, axis=0)
    return found


def _summary(
    params: Params, layout: Layout, prepared: Prepared, rows: np.ndarray, votes: Votes, table: pd.DataFrame
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
    flipped = read_csv(layout.labels, ["flipped"])["flipped"].to_numpy()[rows] == "1"
    known = _known(prepared, rows, table, flipped)
    if known["wrong"]:
        summary["known"] = known
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


def _known(prepared: Prepared, rows: np.ndarray, table: pd.DataFrame, flipped: np.ndarray) -> dict[str, Any]:
    """Figures where injected noise is the truth: by our order, by the plain student's margins, and at random."""
    given, published = (
        indicator(labels[rows], len(prepared.classes)) for labels in (prepared.given, prepared.published)
    )
    place = {sample: number for number, sample in enumerate(prepared.sample_ids[rows])}
    numbers = np.array([place[sample] for sample in table["sample_id"]])
    wrong = flipped[numbers]
    if "finding" in table:
        column = np.array([prepared.classes.index(name) for name in table["finding"]])
        wrong = wrong & (given[numbers, column] != published[numbers, column])
    doubt = -table["score"].to_numpy()
    found: dict[str, Any] = {
        "wrong": int(wrong.sum()),
        "average_precision": average_precision(doubt, wrong),
        "random": float(wrong.mean()),
        "precision_at": {str(k): precision_at(doubt, wrong, k) for k in PRECISION_AT if k <= len(wrong)},
    }
    known = table["aum"].notna().to_numpy() if "aum" in table else np.zeros(len(table), dtype=bool)
    if wrong[known].any():
        trained = {
            "score": doubt,
            "self_confidence": -table["self_confidence"].to_numpy(),
            "aum": -table["aum"].to_numpy(),
            "disagreed": table["disagreed"].to_numpy(),
        }
        found["on_train"] = {name: average_precision(values[known], wrong[known]) for name, values in trained.items()}
    return found


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
