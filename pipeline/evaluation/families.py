"""The statistics of several methods on one test split: each one's interval, and the families of comparisons."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np

from pipeline.common.layout import Checkpoint
from pipeline.common.seeds import stream
from pipeline.distillation.methods import METHODS, families
from pipeline.evaluation.bootstrap import draw_kinds
from pipeline.evaluation.comparisons import bootstrap_interval, compare
from pipeline.evaluation.predictions import Judged, Logits, Row, resampled


def statistics(
    truth: Judged, answers: Mapping[tuple[str, Checkpoint], Sequence[Logits]], groups: np.ndarray, seed: int
) -> tuple[list[Row], list[Row]]:
    """Return each method's test figures with intervals, and the comparisons between methods.

    `answers`: by (method, checkpoint), what the network of each seed answered; `groups`: of the test samples, (N,).
    From five seeds on, comparisons with the seeds resampled too follow those with the seeds fixed. `seed` is that
    of the resamples, which are the same for every method.
    """
    n_seeds = len(next(iter(answers.values())))
    kinds = draw_kinds(groups, n_seeds, stream(seed, "bootstrap", 0))
    figures = {key: resampled(truth, by_seed, kinds[0]) for key, by_seed in answers.items()}
    intervals: list[Row] = [
        {"method": method, "checkpoint": checkpoint, "metric": metric}
        | asdict(bootstrap_interval(values, kinds[0]))
        | {"sd": float(np.std(values[0], ddof=1)) if n_seeds > 1 else np.nan}
        for (method, checkpoint), found in figures.items()
        for metric, values in found.items()
    ]
    main = {
        method: values for (method, checkpoint), values in figures.items() if checkpoint == METHODS[method].checkpoint
    }
    return intervals, [row for draws in kinds for pairs in families(main) for row in compare(main, pairs, draws)]
