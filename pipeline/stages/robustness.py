"""Stage `robustness`: what attacks leave of one student's figures, and whether the attacks can be trusted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch

from models.errors import hint
from pipeline.common.errors import SettingError, UserError
from pipeline.common.files import sha256_file
from pipeline.common.labels import indicator
from pipeline.common.layout import Layout
from pipeline.common.seeds import stream
from pipeline.common.tables import write_csv
from pipeline.data.prepared import Prepared
from pipeline.data.stratify import deal
from pipeline.distillation.methods import PLAIN
from pipeline.evaluation.attacked import (
    ACCURACY,
    ATTACKS,
    CLEAN,
    SWITCH_COLUMNS,
    Attack,
    Attacked,
    Setting,
    robust_figures,
    settings,
)
from pipeline.evaluation.goals import Goal, cuts_of
from pipeline.evaluation.trust import CHECK_COLUMNS, TITLES, Check, trust_checks
from pipeline.params.tree import Params
from pipeline.recipes.attacked import LOGITS, ZEROS, Target, Victims, attacked
from pipeline.recipes.pretrained import decisive
from pipeline.recipes.store import Node, Store
from pipeline.recipes.trained import own_thresholds, trained_student, weights_of
from pipeline.recipes.workshop import digest_of, open_workshop
from pipeline.runtime.progress import Progress
from pipeline.training.device import pick_device

FIGURE_COLUMNS = ("attack", "norm", "eps", "metric", "value")


def run(params: Params, layout: Layout, seed: int, method: str) -> None:
    """Attack the student of a method, and write attacks.csv, checks.csv, switches.csv and logits.npz.

    The tables are empty where the method is not among those that are trained.
    """
    if method not in params.methods:
        print(f"robustness: {method} is not among methods, so that there is no student to attack", flush=True)
        _write_tables(layout, seed, method, {}, [], [])
        return
    workshop, device = open_workshop(params, layout), pick_device(params.machine.device)
    prepared = workshop.data.prepared(params)
    rows = _chosen(prepared, params.robustness.attacks.images, params.robustness.attacks.seed)
    thresholds = own_thresholds(layout, prepared, seed, method)
    findings = _numbered(params.robustness.attacks.findings, prepared.classes)
    victims = _victims(prepared, rows, workshop.data.digest, thresholds, device)
    target = _target(params, layout, prepared, seed, method, device)
    plain = None
    if PLAIN in params.methods and method != PLAIN:
        plain = _target(params, layout, prepared, seed, PLAIN, device)
    attacks = _Attacks(params, workshop.store, target, plain, device)
    logits, zeros = attacks.on_all(victims)
    switches = attacks.on_findings(victims, findings)
    truth, classes = prepared.published[rows], prepared.classes
    figures = {
        setting: robust_figures(params.task, found, truth, classes, thresholds) for setting, found in logits.items()
    }
    checks = trust_checks({setting: found[ACCURACY] for setting, found in figures.items()}, zeros)
    answers = Attacked(prepared.sample_ids[rows], prepared.groups[rows], truth, thresholds, logits)
    answers.write(layout.attacked_logits(seed, method))
    _write_tables(layout, seed, method, figures, checks, switches)
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


def _numbered(findings: Sequence[str], classes: Sequence[str]) -> dict[str, int]:
    """The place of each finding among the classes. Raises SettingError for one that the data do not have."""
    for name in findings:
        if name not in classes:
            meant = hint(name, classes, f"the findings are {', '.join(classes)}")
            raise SettingError(f"robustness.attacks.findings names {name!r}, which the data do not have; {meant}")
    return {name: list(classes).index(name) for name in findings}


@dataclass(frozen=True)
class _Attacks:
    """The attacks on one student; `plain` is Baseline I's, whose images are transferred to it."""

    params: Params
    store: Store
    target: Target
    plain: Target | None
    device: torch.device

    def on_all(self, victims: Victims) -> tuple[dict[Setting, np.ndarray], np.ndarray]:
        """The logits under every attack that is wanted, and the clean images' shares of zero gradients."""
        own = self.params.robustness.attacks
        attacks: list[Attack] = [name for name in ATTACKS if self.plain or name != "transfer"]
        nodes = self._made(f"attacks on {self.target.name}", [victims], list(settings(own.l2, own.linf, attacks)))
        logits = {setting: np.load(self.store.file(node, LOGITS)) for setting, node in nodes[0].items()}
        return logits, np.load(self.store.file(nodes[0][CLEAN], ZEROS))

    def on_findings(self, victims: Victims, findings: Mapping[str, int]) -> list[tuple[Any, ...]]:
        """Rows of SWITCH_COLUMNS; none where all images have a finding that is to be called, or none to be hidden."""
        own = self.params.robustness.attacks
        switches = [(name, on) for name in findings for on in (True, False)]
        tried = {(name, on): victims.switching(findings[name], on=on) for name, on in switches}
        tried = {switch: few for switch, few in tried.items() if len(few.rows)}
        made = self._made(
            f"findings switched in {self.target.name}", list(tried.values()), list(settings(own.l2, own.linf, ["pgd"]))
        )
        rows = []
        for ((name, on), few), nodes in zip(tried.items(), made, strict=True):
            for setting, node in nodes.items():
                logits = torch.from_numpy(np.load(self.store.file(node, LOGITS)))
                share = few.goal.turned(logits.to(self.device)).float().mean().item()
                wanted = "present" if on else "absent"
                rows.append((name, wanted, setting.norm, setting.eps, len(few.rows), share))
        return rows

    def _made(self, title: str, victims: Sequence[Victims], wanted: Sequence[Setting]) -> list[dict[Setting, Node]]:
        """The nodes of every attack on each of `victims`, made where they are missing."""
        made: list[dict[Setting, Node]] = []
        before = 0
        with Progress(title, sum(len(one.rows) for one in victims) * len(wanted), "image") as progress:
            done = 0

            def show(images: int, _: Mapping[str, float], *, key: str) -> None:
                nonlocal done
                progress.advance(before + images - done, key)
                done = before + images

            for one in victims:
                made.append({})
                for setting in wanted:
                    source = self.plain if self.plain and setting.attack == "transfer" else self.target
                    node = attacked(self.target, source, one, setting, self.params.robustness.attacks, self.device)
                    self.store.get([node], partial(show, key=setting.key))
                    show(len(one.rows), {}, key=setting.key)
                    made[-1][setting] = node
                    before += len(one.rows)
        return made


def _write_tables(
    layout: Layout,
    seed: int,
    method: str,
    figures: Mapping[Setting, Mapping[str, float]],
    checks: list[Check],
    switches: list[tuple[Any, ...]],
) -> None:
    rows = [(*setting, metric, value) for setting, found in figures.items() for metric, value in found.items()]
    outcomes: list[tuple[Any, ...]] = [(*check, int(check.passed)) for check in checks]
    write_csv(layout.attack_figures(seed, method), rows, FIGURE_COLUMNS)
    write_csv(layout.attack_checks(seed, method), outcomes, CHECK_COLUMNS)
    write_csv(layout.switched(seed, method), switches, SWITCH_COLUMNS)


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
