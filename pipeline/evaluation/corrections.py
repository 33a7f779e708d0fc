"""What corrected labels did: the figures of every method now, against those of the same experiment before them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from pipeline.common.files import atomic
from pipeline.common.seeds import stream
from pipeline.evaluation.bootstrap import draw_kinds
from pipeline.evaluation.comparisons import COMPARISON_COLUMNS, compare
from pipeline.evaluation.predictions import Judged, Logits, Row, resampled

EFFECT_COLUMNS = ("method", "before", "now", "labels", *COMPARISON_COLUMNS[2:])
"""The columns of metrics/corrections.csv; `labels`: how many given labels differ between the two."""


@dataclass(frozen=True)
class Outcome:
    """One state of the experiment.

    `corrected`: how many labels the corrections file had; `given`: the given labels of all samples, (N,) or (N, C);
    `answers`: what each method's network of each seed answered, of which validation and test are kept.
    """

    corrected: int
    given: np.ndarray
    answers: Mapping[str, Sequence[Logits]]


def write_outcome(path: Path, outcome: Outcome) -> None:
    """Write an npz."""
    arrays = {
        f"{method} {number} {split}": values
        for method, by_seed in outcome.answers.items()
        for number, logits in enumerate(by_seed)
        for split, values in logits.items()
        if split != "train"
    }
    with atomic(path) as temporary:
        np.savez(temporary, corrected=outcome.corrected, given=outcome.given, **arrays)  # type: ignore[arg-type]


def read_outcome(path: Path) -> Outcome | None:
    """Read a file of `write_outcome`; None where it cannot be read, as one that is half a file."""
    answers: dict[str, list[Logits]] = {}
    try:
        with np.load(path) as stored:
            for name in stored.files:
                if name in ("corrected", "given"):
                    continue
                method, number, split = name.split(" ")
                by_seed = answers.setdefault(method, [])
                if int(number) == len(by_seed):
                    by_seed.append({})
                by_seed[int(number)][split] = stored[name]
            return Outcome(int(stored["corrected"]), stored["given"], answers)
    except (OSError, ValueError, EOFError, KeyError, BadZipFile):
        return None


def effect(truth: Judged, before: Outcome, now: Outcome, groups: np.ndarray, seed: int) -> list[Row]:
    """Return a row for each method that both have and each metric: now minus before, paired over the test groups.

    `groups`: of the test samples, (N,); `seed`: of the resamples. With five seeds and more, seeds are resampled too.
    In each metric the methods are one family (Holm).
    """
    methods = [name for name in now.answers if len(before.answers.get(name, ())) == len(now.answers[name])]
    if not methods:
        return []
    draws = draw_kinds(groups, len(now.answers[methods[0]]), stream(seed, "corrections", 0))[-1]
    states = {"before": before, "now": now}
    figures = {
        f"{name} {state}": resampled(truth, outcome.answers[name], draws)
        for name in methods
        for state, outcome in states.items()
    }
    changed = (before.given != now.given).reshape(len(now.given), -1).any(axis=1)
    rows = []
    for row in compare(figures, [(f"{name} now", f"{name} before") for name in methods], draws):
        found, metric = row.pop("method_a").removesuffix(" now"), row["metric"]
        del row["method_b"]
        values = {state: float(draws.over_seeds(figures[f"{found} {state}"][metric])[0]) for state in states}
        rows.append({"method": found} | values | {"labels": int(changed.sum())} | row)
    return rows
