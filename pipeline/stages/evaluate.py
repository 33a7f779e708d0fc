"""Stage `evaluate`: every student's and teacher's figures on validation and test, and how sure the differences are."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.common.files import atomic, sha256_json, write_json
from pipeline.common.layout import POOLS, Checkpoint, Layout, Pool
from pipeline.common.tables import read_csv, write_csv
from pipeline.data.prepared import Prepared, PreparedData, read_report
from pipeline.distillation.methods import METHODS, checkpoints_of, ordered, runs_of, teachers_needed
from pipeline.evaluation.comparisons import COMPARISON_COLUMNS
from pipeline.evaluation.corrections import EFFECT_COLUMNS, Outcome, effect, read_outcome, write_outcome
from pipeline.evaluation.families import statistics
from pipeline.evaluation.memorisation import TRAINING_COLUMNS, agreement, fall
from pipeline.evaluation.metrics import HEADLINES, primary_metric
from pipeline.evaluation.predictions import EVALUATED, TEACHER_COLUMNS, Logits, Row, figures_of, read_logits
from pipeline.params.tree import Params, decisive
from pipeline.training.history import read_history

TRAINED_BY = ("teacher", "soft_labels", "student", "evaluate")
"""The stages whose code decides the figures."""
Students = dict[tuple[str, Checkpoint], dict[int, Logits]]
"""What each method's checkpoint answered, by seed."""
Teachers = dict[tuple[int, Pool, str], Logits]
"""What each teacher that some method needs answered, by seed, pool and name."""


def run(params: Params, layout: Layout) -> None:
    """Write predictions/ and metrics/: students, teachers, comparisons, intervals, and what DVC shows."""
    data = PreparedData(layout, params.task)
    prepared = data.prepared(params)
    students, teachers = _answers(params, layout), _teacher_answers(params, layout)
    _write_predictions(prepared, layout, students)
    rows = _student_rows(prepared, students)
    write_csv(layout.student_metrics, rows)
    write_csv(layout.teacher_metrics, _teacher_rows(prepared, teachers), TEACHER_COLUMNS)
    write_csv(layout.training_metrics, _training_rows(params, data, layout, students, teachers), TRAINING_COLUMNS)
    by_seed = {key: [answers[seed] for seed in params.seeds] for key, answers in students.items()}
    groups = prepared.groups[prepared.rows("test")]
    intervals, comparisons = statistics(prepared, by_seed, groups, params.split.seed)
    write_csv(layout.intervals, intervals)
    write_csv(layout.comparisons, comparisons, COMPARISON_COLUMNS)
    main = {method: by_seed[method, METHODS[method].checkpoint] for method in ordered(params.methods)}
    write_csv(layout.corrections, _corrections(params, layout, prepared, main), EFFECT_COLUMNS)
    _write_summary(layout, intervals)
    _write_curves(params, layout)


def _answers(params: Params, layout: Layout) -> Students:
    students: Students = {}
    for name in ordered(params.methods):
        method = METHODS[name]
        for seed in params.seeds:
            found = read_logits(layout.student_predictions(seed, method.pool, method.run))
            for checkpoint in checkpoints_of(name):
                students.setdefault((name, checkpoint), {})[seed] = found[checkpoint]
    return students


def _student_rows(prepared: Prepared, students: Students) -> list[Row]:
    return [
        {"seed": seed, "method": method, "checkpoint": checkpoint} | row
        for (method, checkpoint), by_seed in students.items()
        for seed, logits in by_seed.items()
        for row in figures_of(prepared, logits)
    ]


def _teacher_answers(params: Params, layout: Layout) -> Teachers:
    return {
        (seed, pool, name): read_logits(layout.teacher_predictions(seed, pool, name))[params.teachers.checkpoint]
        for seed in params.seeds
        for pool in POOLS
        for name in teachers_needed(params.methods, pool, params.teacher_names(pool))
    }


def _teacher_rows(prepared: Prepared, teachers: Teachers) -> list[Row]:
    return [
        {"seed": seed, "pool": pool, "architecture": name} | row
        for (seed, pool, name), logits in teachers.items()
        for row in figures_of(prepared, logits)
    ]


def _training_rows(
    params: Params, data: PreparedData, layout: Layout, students: Students, teachers: Teachers
) -> list[Row]:
    """How long each network trained, whether its loss still falls, and which labels it repeats, teachers first."""
    prepared = data.prepared(params)
    train = prepared.rows("train")
    flipped = read_csv(layout.labels, ["flipped"])["flipped"].to_numpy()[train] == "1"
    labels = (prepared.given[train], prepared.published[train], flipped)
    rows: list[Row] = []

    def add(
        seed: int, network: str, pool: Pool | None, history: Path | None, logits: Logits, seen: np.ndarray | None
    ) -> None:
        found = _length(history) if history else {}
        found |= agreement(prepared.task, logits["train"], *labels, seen)
        key = {"seed": seed, "network": network, "pool": pool or ""}
        rows.extend(key | {"metric": metric, "value": value} for metric, value in found.items())

    for (seed, pool, name), logits in teachers.items():
        seen = data.members(params)[name] if pool == "subset" else None
        add(seed, name, pool, layout.teacher_history(seed, pool, name), logits, seen)
    for seed in params.seeds:
        for name in ordered(params.methods):
            method = METHODS[name]
            own = method.run == name  # the length of another's run stands with that
            history = layout.student_history(seed, method.pool, name) if own else None
            add(seed, name, None, history, students[name, method.checkpoint][seed], None)
    return rows


def _length(history: Path) -> dict[str, float]:
    rows = read_history(history)
    of_train = rows.loc[rows["split"] == "train"].set_index("metric")["value"]
    losses, steps = of_train.loc[["loss"]].tolist(), of_train.loc[["steps"]].tolist()
    return {"steps": steps[-1], "loss": losses[-1], "fall": fall(losses)}


def _corrections(
    params: Params, layout: Layout, prepared: Prepared, answers: Mapping[str, Sequence[Logits]]
) -> list[Row]:
    """Keep this outcome, and compare it with that of the same experiment with the fewest corrected labels."""
    corrected = json.loads(layout.noise.read_text(encoding="utf-8"))["corrected"]
    now = Outcome(corrected, prepared.given, answers)
    code = [path.read_text(encoding="utf-8") for name in TRAINED_BY if (path := layout.code / f"{name}.txt").exists()]
    experiment = sha256_json([decisive(params), read_report(layout)["sha256"], prepared.split.tolist(), code])
    folder = layout.outcomes / experiment[:24]
    folder.mkdir(parents=True, exist_ok=True)
    write_outcome(folder / f"{sha256_json(prepared.given.tolist())[:24]}.npz", now)
    earlier = [found for path in sorted(folder.glob("*.npz")) if (found := read_outcome(path)) is not None]
    before = min(earlier, key=lambda outcome: outcome.corrected)
    if before.corrected >= corrected:
        return []
    return effect(prepared, before, now, prepared.groups[prepared.rows("test")], params.split.seed)


def _write_predictions(prepared: Prepared, layout: Layout, students: Students) -> None:
    shutil.rmtree(layout.all_predictions, ignore_errors=True)  # of methods that are no longer compared
    for (method, checkpoint), by_seed in students.items():
        for seed, logits in by_seed.items():
            arrays = {}
            for split in EVALUATED:
                arrays[f"{split}_sample_ids"] = prepared.sample_ids[prepared.rows(split)]
                arrays[f"{split}_targets"] = prepared.targets(split)
                arrays[f"{split}_logits"] = logits[split]
            with atomic(layout.predictions(seed, method, checkpoint)) as temporary:
                np.savez(temporary, **arrays)


def _write_summary(layout: Layout, intervals: Sequence[Row]) -> None:
    """The headline figures of each method on the test split, for `dvc metrics` and `dvc plots`."""
    rows = [row for row in intervals if row["checkpoint"] == METHODS[row["method"]].checkpoint]
    figures: dict[str, Row] = {}
    for row in rows:
        if row["metric"] in HEADLINES and np.isfinite(row["value"]):
            figures.setdefault(row["method"], {})[row["metric"]] = round(row["value"], 4)
    write_json(layout.summary, {"test": figures})
    write_csv(layout.method_figures, [{"method": method, **values} for method, values in figures.items()])


def _write_curves(params: Params, layout: Layout) -> None:
    """The validation figure that selects, by epoch and training run, as means over seeds."""
    primary = primary_metric(params.task)
    curves = {}
    for name in runs_of(params.methods):
        histories = [read_history(layout.student_history(seed, METHODS[name].pool, name)) for seed in params.seeds]
        rows = pd.concat(histories)
        chosen = rows.loc[(rows["split"] == "val") & (rows["metric"] == primary)]
        curves[name] = chosen.groupby("epoch")["value"].mean()
    with atomic(layout.curves) as temporary:
        pd.DataFrame(curves).to_csv(temporary, index_label="epoch")
