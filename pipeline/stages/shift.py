"""Stage `shift`: one student on corrupted test images, and on the images of another source."""

import shutil
from pathlib import Path

import numpy as np

from pipeline.common.errors import UserError
from pipeline.common.files import replace_folder, sha256_files, write_json
from pipeline.common.layout import Layout
from pipeline.common.seeds import stream
from pipeline.common.tables import write_csv
from pipeline.data.external_set import External, load_external
from pipeline.distillation.methods import METHODS, PLAIN
from pipeline.evaluation.bootstrap import draw
from pipeline.evaluation.predictions import Row, read_logits
from pipeline.evaluation.shift import (
    CLEAN,
    CORRUPTION_COLUMNS,
    EXTERNAL_COLUMNS,
    Resampled,
    corruption_rows,
    external_rows,
    shift_figures,
)
from pipeline.params.tree import Params
from pipeline.recipes.shift import Tried, kinds_of
from pipeline.recipes.trained import own_thresholds
from pipeline.recipes.workshop import Workshop, open_workshop
from pipeline.runtime.progress import Progress


def run(params: Params, layout: Layout, seed: int, method: str) -> None:
    """Write shift/<seed>/<method>/: corruptions.csv, summary.json, and external.csv where there is an external set.

    The tables of a method that is not among `methods` are empty: it has no student.
    """
    target = layout.shift(seed, method)
    unfinished = target.with_name(f".{method}.partial")
    shutil.rmtree(unfinished, ignore_errors=True)
    if method in params.methods:
        workshop = open_workshop(params, layout)
        _corruptions(workshop, params, layout, seed, method, unfinished)
        external = load_external(layout, params.task, workshop.data.prepared(params).classes)
        if external is not None:
            _external(workshop, params, layout, seed, method, external, unfinished)
    else:
        print(f"shift: {method} is not in `methods`, so that it has no student to try", flush=True)
        write_csv(unfinished / layout.corruption_figures(seed, method).name, [], CORRUPTION_COLUMNS)
        write_json(unfinished / layout.shift_summary(seed, method).name, {"images": 0})
    replace_folder(unfinished, target)


def _corruptions(workshop: Workshop, params: Params, layout: Layout, seed: int, method: str, folder: Path) -> None:
    """The figures of the method and, where Baseline I is trained, its corruption errors relative to that."""
    prepared = workshop.data.prepared(params)
    reference = PLAIN if PLAIN in params.methods else None
    kinds = kinds_of(params, prepared.images.shape[-1])
    names = dict.fromkeys([method, reference] if reference else [method])
    tried = {name: Tried(workshop, params, layout, seed, name) for name in names}
    rows = tried[method].rows
    draws = draw(prepared.groups[rows], 1, stream(params.split.seed, "bootstrap corrupted", 0))
    of_one = len(rows) * (1 + len(kinds) * len(params.robustness.corruptions.severities))
    figures: dict[str, dict[tuple[str, int], Resampled]] = {name: {} for name in tried}
    with Progress(f"shift {method}, seed {seed}", of_one * len(tried), "image") as progress:
        for name, one in tried.items():
            thresholds = own_thresholds(layout, prepared, seed, name)
            for kind in (CLEAN, *kinds):
                for severity, logits in one.corrupted(kind, progress.advance).items():
                    figures[name][kind, severity] = shift_figures(
                        params.task, logits, prepared.published[rows], draws, thresholds
                    )
    table = corruption_rows(figures[method], figures[reference] if reference else None, draws)
    write_csv(folder / layout.corruption_figures(seed, method).name, table, CORRUPTION_COLUMNS)
    summary = {
        "images": len(rows),
        "groups": len(draws.counts),
        "kinds": list(kinds),
        "severities": list(params.robustness.corruptions.severities),
        "reference": reference,
    }
    write_json(folder / layout.shift_summary(seed, method).name, summary)
    found = {(row["kind"], row["metric"]): row["value"] for row in table if row["severity"] in (0, "mean")}
    measured = f"macro F1 {found[CLEAN, 'f1_macro']:.3f} clean, {found['all', 'f1_macro']:.3f} corrupted"
    print(
        f"shift: {METHODS[method].title}, seed {seed}: {measured}"
        + (f", mean corruption error {found['all', 'ce']:.3f} of {METHODS[reference].title}'s" if reference else ""),
        flush=True,
    )


def _external(
    workshop: Workshop, params: Params, layout: Layout, seed: int, method: str, external: External, folder: Path
) -> None:
    """The figures on the external images and on our own test split, on the classes of both."""
    prepared = workshop.data.prepared(params)
    digest = sha256_files([layout.external_images, layout.external_samples])
    logits = Tried(workshop, params, layout, seed, method).external(external, digest)
    columns = np.array([prepared.classes.index(name) for name in external.shared])
    thresholds = own_thresholds(layout, prepared, seed, method)
    own = read_logits(layout.student_predictions(seed, METHODS[method].pool, METHODS[method].run))
    own_logits, own_rows = own[METHODS[method].checkpoint]["test"], prepared.rows("test")
    targets = prepared.published[own_rows]
    if params.task == "multilabel":
        logits, own_logits, targets = logits[:, columns], own_logits[:, columns], targets[:, columns]
        thresholds = None if thresholds is None else thresholds[columns]
    else:
        kept = np.isin(targets, columns)
        own_logits, own_rows, targets = own_logits[kept], own_rows[kept], targets[kept]
    table: list[Row] = []
    sets = {
        "external": (logits, external.targets, external.groups),
        "own": (own_logits, targets, prepared.groups[own_rows]),
    }
    for source, (answers, truth, groups) in sets.items():
        if not len(truth):
            raise UserError(
                f"robustness.external: {'the external set' if source == 'external' else 'the own test split'} has no "
                f"image of the shared classes {', '.join(external.shared)}. Give it some, or set robustness.external "
                "to null"
            )
        draws = draw(groups, 1, stream(params.split.seed, f"bootstrap {source}", 0))
        table += external_rows(source, shift_figures(params.task, answers, truth, draws, thresholds), draws)
    write_csv(folder / layout.external_figures(seed, method).name, table, EXTERNAL_COLUMNS)
    found = {(row["source"], row["metric"]): row["value"] for row in table}
    print(
        f"shift: {METHODS[method].title}, seed {seed}: macro F1 {found['external', 'f1_macro']:.3f} on the external "
        f"set, {found['own', 'f1_macro']:.3f} on our own test split",
        flush=True,
    )
