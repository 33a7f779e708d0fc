"""Stage `robustness`: what attacks leave of one student's figures, and whether the attacks can be trusted."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch

from pipeline.common.errors import UserError
from pipeline.common.files import sha256_file
from pipeline.common.labels import indicator
from pipeline.common.layout import Layout
from pipeline.common.seeds import stream
from pipeline.common.tables import write_csv
from pipeline.data.prepared import Prepared
from pipeline.data.stratify import deal
from pipeline.distillation.methods import PLAIN
from pipeline.evaluation.attacked import ACCURACY, ATTACKS, CLEAN, Attacked, Setting, robust_figures, settings
from pipeline.evaluation.goals import Goal, cuts_of
from pipeline.evaluation.trust import CHECK_COLUMNS, TITLES, Check, trust_checks
from pipeline.params.tree import Params
from pipeline.recipes.attacked import LOGITS, ZEROS, Target, Victims, attacked
from pipeline.recipes.pretrained import decisive
from pipeline.recipes.store import Store
from pipeline.recipes.trained import own_thresholds, trained_student, weights_of
from pipeline.recipes.workshop import digest_of, open_workshop
from pipeline.runtime.progress import Progress
from pipeline.training.device import pick_device

FIGURE_COLUMNS = ("attack", "norm", "eps", "metric", "value")


def run(params: Params, layout: Layout, seed: int, method: str) -> None:
    """Attack the student of a method, and write attacks.csv, checks.csv and logits.npz.

    The tables are empty where the method is not among those that are trained.
    """
    if method not in params.methods:
        print(f"robustness: {method} is not among methods, so that there is no student to attack", flush=True)
        _write_tables(layout, seed, method, {}, [])
        return
    workshop, device = open_workshop(params, layout), pick_device(params.machine.device)
    prepared = workshop.data.prepared(params)
    rows = _chosen(prepared, params.robustness.attacks.images, params.robustness.attacks.seed)
    thresholds = own_thresholds(layout, prepared, seed, method)
    victims = _victims(prepared, rows, workshop.data.digest, thresholds, device)
    target = _target(params, layout, prepared, seed, method, device)
    plain = None
    if PLAIN in params.methods and method != PLAIN:
        plain = _target(params, layout, prepared, seed, PLAIN, device)
    logits, zeros = _attack(params, workshop.store, target, plain, victims, device)
    truth, classes = prepared.published[rows], prepared.classes
    figures = {
        setting: robust_figures(params.task, found, truth, classes, thresholds) for setting, found in logits.items()
    }
    checks = trust_checks({setting: found[ACCURACY] for setting, found in figures.items()}, zeros)
    answers = Attacked(prepared.sample_ids[rows], prepared.groups[rows], truth, thresholds, logits)
    answers.write(layout.attacked_logits(seed, method))
    _write_tables(layout, seed, method, figures, checks)
    print(_summary(target.name, figures, checks), flush=True)


def _chosen(prepared: Prepared, count: int | None, seed: int) -> np.ndarray:
    """The test rows that are attacked, ascending: about `count` in whole groups, classes in proportion. Raises."""
    rows = prepared.rows("test")
    if count is None or count >= len(rows):
        return rows
    labels = indicator(prepared.published[rows], len(prepared.classes))
    groups = pd.factorize(prepared.groups[rows])[0]
    sizes = np.array([count, len(rows) - count])
    chosen = rows[deal(labels, groups, sizes, stream(seed, "attacked images", 0)) == 0]
    if not len(chosen):
        raise UserError(
            f"robustness.attacks.images is {count}, but the groups of the test split, which stay whole, have more "
            "images; raise it"
        )
    return chosen


def _victims(
    prepared: Prepared, rows: np.ndarray, digest: str, thresholds: np.ndarray | None, device: torch.device
) -> Victims:
    truth = prepared.published[rows]
    cuts = None if thresholds is None else cuts_of(thresholds)
    goal = Goal(
        prepared.task,
        torch.from_numpy(truth).to(device),
        None if cuts is None else torch.from_numpy(cuts).to(device),
    )
    identity = {"data": digest, "rows": digest_of(rows, truth, *([] if cuts is None else [cuts]))}
    return Victims(prepared.images, rows, goal, identity)


def _target(params: Params, layout: Layout, prepared: Prepared, seed: int, method: str, device: torch.device) -> Target:
    network = trained_student(params, layout, seed, method, len(prepared.classes)).requires_grad_(False)
    identity = decisive(params.student_network) | {"trained": sha256_file(weights_of(layout, seed, method))}
    return Target(f"{method}, seed {seed}", network.to(device), identity)


def _attack(
    params: Params, store: Store, target: Target, plain: Target | None, victims: Victims, device: torch.device
) -> tuple[dict[Setting, np.ndarray], np.ndarray]:
    """The logits under every attack that is wanted, and the clean images' shares of zero gradients."""
    own, N = params.robustness.attacks, len(victims.rows)
    wanted = list(settings(own.l2, own.linf, [name for name in ATTACKS if plain or name != "transfer"]))
    logits: dict[Setting, np.ndarray] = {}
    zeros = np.empty(0)
    with Progress(f"attacks on {target.name}", len(wanted) * N, "image") as progress:
        done = 0

        def show(images: int, _: Mapping[str, float], *, before: int = 0, key: str = "") -> None:
            nonlocal done
            progress.advance(before + images - done, key)
            done = before + images

        for place, setting in enumerate(wanted):
            source = plain if plain and setting.attack == "transfer" else target
            node = attacked(target, source, victims, setting, own, device)
            store.get([node], partial(show, before=place * N, key=setting.key))
            show(N, {}, before=place * N, key=setting.key)
            logits[setting] = np.load(store.file(node, LOGITS))
            if setting == CLEAN:
                zeros = np.load(store.file(node, ZEROS))
    return logits, zeros


def _write_tables(
    layout: Layout, seed: int, method: str, figures: Mapping[Setting, Mapping[str, float]], checks: list[Check]
) -> None:
    rows = [(*setting, metric, value) for setting, found in figures.items() for metric, value in found.items()]
    outcomes: list[tuple[Any, ...]] = [(*check, int(check.passed)) for check in checks]
    write_csv(layout.attack_figures(seed, method), rows, FIGURE_COLUMNS)
    write_csv(layout.attack_checks(seed, method), outcomes, CHECK_COLUMNS)


def _summary(name: str, figures: Mapping[Setting, Mapping[str, float]], checks: list[Check]) -> str:
    """A line for the terminal: macro F1 under PGD, and every check that failed."""
    of_pgd = ", ".join(
        f"{found['f1_macro']:.3f} at {setting.norm} {setting.eps:g}"
        for setting, found in figures.items()
        if setting.attack == "pgd"
    )
    failed = [f"{TITLES[check.check]}: no ({check.norm} {check.eps:g})" for check in checks if not check.passed]
    trusted = "all checks passed" if not failed else "NOT TO BE TRUSTED: " + "; ".join(failed)
    return f"robustness: {name}: macro F1 {figures[CLEAN]['f1_macro']:.3f} clean; under PGD {of_pgd}; {trusted}"
