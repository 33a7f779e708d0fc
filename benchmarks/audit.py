"""Does the audit find as many wrong labels as a cross-validation, at what cost? On what `make repro` left here.

The cross-validation is what confident learning is used with otherwise: the student's network, trained plainly on four
fifths of the training samples at a time, says what it thinks of the other fifth. By name only.
"""

import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from benchmarks.rows import Row, at_least, at_most, reported
from pipeline.common.errors import UserError
from pipeline.common.layout import Layout
from pipeline.common.tables import read_csv
from pipeline.distillation.objective import Supervised
from pipeline.evaluation.audit import Votes, combined_score, label_quality, unseen_votes
from pipeline.evaluation.metrics import probabilities
from pipeline.evaluation.orders import average_precision
from pipeline.params.tree import Params
from pipeline.recipes.features import stored_features
from pipeline.recipes.witnesses import plain_signals, voters
from pipeline.recipes.workshop import Workshop, open_workshop
from pipeline.training.inputs import answers

FOLDS = 5
WORSE, TIMES = -0.01, 0.1


def measure(params: Params) -> list[Row]:
    """Return average precision against the cross-validation's, and the audit's time over that of its trainings."""
    layout = Layout()
    if params.task != "multiclass":
        raise UserError("benchmarks audit: task is multilabel; the comparison is made for one class per image")
    workshop = open_workshop(params, layout)
    prepared = workshop.data.prepared(params)
    train = prepared.rows("train")
    wrong = read_csv(layout.labels, ["flipped"])["flipped"].to_numpy()[train] == "1"
    if not wrong.any():
        raise UserError("benchmarks audit: no training label is known to be wrong; set noise.kind and run make repro")
    begun = perf_counter()
    voting = voters(params, layout, workshop.data)
    votes = unseen_votes(
        ((one.probabilities[: len(train)], one.unseen[: len(train)]) for one in voting),
        (len(train), len(prepared.classes)),
    )
    judged = label_quality(params.task, votes, prepared.given[train])
    signals = plain_signals(params, layout, prepared)
    ranked = [judged.confidence, *([signals["aum"][: len(train)]] if signals else [])]
    score = combined_score(*ranked)
    seconds = perf_counter() - begun
    crossed, training = _cross_validated(workshop, params)
    own, votes_alone = (average_precision(-found, wrong) for found in (score, judged.confidence))
    folds = average_precision(-crossed, wrong)
    on = f"{params.data.source}, {int(wrong.sum()):,} of {len(wrong):,} training labels wrong"
    precision = f"average precision {own:.3f} minus {folds:.3f} by {FOLDS} folds; {on}"
    spent = f"{seconds:.1f} s for votes and ranks over {training:.0f} s of training folds"
    return [
        at_least("audit_precision", [own - folds], WORSE, precision),
        reported("audit_votes", [votes_alone - folds], "the same of the votes alone, without AUM"),
        at_most("audit_time", [seconds / training], TIMES, spent),
    ]


def _cross_validated(workshop: Workshop, params: Params) -> tuple[np.ndarray, float]:
    """Probability of each given training label by a network that was not trained on it, and the seconds of training.

    It answers all views, as the teachers do, and the mean counts.
    """
    prepared, seed, network = workshop.data.prepared(params), params.seeds[0], params.student_network
    rows = prepared.rows("train")
    given, confidence = prepared.given[rows], np.full(len(rows), np.nan)
    bench = workshop.bench(params, seed)
    inputs = bench.inputs(stored_features(workshop, params, network))
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed).split(rows, given, prepared.groups[rows])
    seconds = 0.0
    for number, (kept, left_out) in enumerate(folds):
        begun = perf_counter()
        data = bench.training_set(inputs, np.isin(np.arange(len(rows)), kept))
        model = bench.network(network, inputs, f"fold {number}")
        with tempfile.TemporaryDirectory() as folder:
            bench.train(
                model, data, Supervised(params.task, bench.balance(data)), resume=Path(folder) / "resume.pt",
                on_epoch=lambda epoch, metrics: None,
            )  # fmt: skip
        own = rows[left_out]
        said = [answers(model, inputs, own, view, bench.device) for view in range(inputs.count + 1)]
        mean = np.mean([probabilities(params.task, logits.astype(np.float64)) for logits in said], axis=0)
        votes = Votes(mean, np.ones(len(own), dtype=np.int64))
        confidence[left_out] = label_quality(params.task, votes, given[left_out]).confidence
        seconds += perf_counter() - begun
    return confidence, seconds
