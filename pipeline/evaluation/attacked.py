"""The attacks by name and budget, and a network's figures on attacked images."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, cast, get_args
from zipfile import BadZipFile

import numpy as np

from models.names import Task
from pipeline.common.errors import UserError
from pipeline.common.files import atomic
from pipeline.common.labels import indicator
from pipeline.evaluation.metrics import decide, evaluate, probabilities

Norm = Literal["l2", "linf"]
Attack = Literal["fgsm", "pgd", "square", "transfer"]
ATTACKS: tuple[Attack, ...] = get_args(Attack)
FIGURES = ("precision_macro", "recall_macro", "f1_macro", "auroc_macro")
ACCURACY = "accuracy"
"""The share of right decisions: one per image, with several findings one per image and finding."""


SWITCH_COLUMNS = ("finding", "wanted", "norm", "eps", "n_images", "switched")
"""What attacks that are after one finding reached: `wanted` is present or absent, `switched` the share of `n_images`
for which the network then says so; eps 0 are the clean images, which it gets wrong without an attack."""
SWITCHED_COLUMNS = ("method", *SWITCH_COLUMNS, "sd")
"""The columns of metrics/robustness_switches.csv, over seeds."""


class Setting(NamedTuple):
    """One attack at one budget; `norm` and `attack` are empty for clean images.

    `eps` is as in params.yaml: of pixels in [0, 1] in L2, in 255ths in L-infinity.
    """

    attack: Attack | Literal[""]
    norm: Norm | Literal[""]
    eps: float

    @property
    def budget(self) -> float:
        """The largest norm of a perturbation, of pixels in [0, 1]."""
        return self.eps / 255 if self.norm == "linf" else self.eps

    @property
    def key(self) -> str:
        """`pgd/l2/0.25`, or `clean`: the name of its logits and of its metrics."""
        return f"{self.attack}/{self.norm}/{self.eps:.15g}" if self.attack else "clean"


CLEAN = Setting("", "", 0.0)


def setting_of(key: str) -> Setting:
    """Return the setting of a key."""
    if key == CLEAN.key:
        return CLEAN
    attack, norm, eps = key.split("/")
    return Setting(cast(Attack, attack), cast(Norm, norm), float(eps))


def settings(l2: Sequence[float], linf: Sequence[float], attacks: Sequence[Attack] = ATTACKS) -> Iterator[Setting]:
    """Yield the clean images, then every attack at every budget, budgets ascending."""
    yield CLEAN
    budgets: dict[Norm, Sequence[float]] = {"l2": l2, "linf": linf}
    for norm, own in budgets.items():
        for eps in own:
            for attack in attacks:
                yield Setting(attack, norm, eps)


def robust_figures(
    task: Task, logits: np.ndarray, targets: np.ndarray, classes: Sequence[str], thresholds: np.ndarray | None
) -> dict[str, float]:
    """Return FIGURES and ACCURACY of logits (N, C) on attacked images; arguments as of `metrics.evaluate`.

    `targets`: the labels that the test split is judged by; `thresholds`: as tuned on clean validation images, which
    the attacker knows.
    """
    table = evaluate(task, logits, targets, classes, thresholds)
    overall = table.loc[table["class"] == ""].set_index("metric")["value"]
    called = decide(task, probabilities(task, logits), thresholds)
    truth = indicator(targets, len(classes))
    right = (called == truth).mean() if task == "multilabel" else (called & truth).any(axis=1).mean()
    return {name: float(overall[name]) for name in FIGURES} | {ACCURACY: float(right)}


@dataclass(frozen=True)
class Attacked:
    """What one student answered: logits (N, C) of the same N test images under each attack.

    `targets`: int (N,) or 0/1 (N, C); `groups`, `sample_ids`: str (N,); `thresholds`: (C,) of its findings, multilabel
    only.
    """

    sample_ids: np.ndarray
    groups: np.ndarray
    targets: np.ndarray
    thresholds: np.ndarray | None
    logits: Mapping[Setting, np.ndarray]

    def write(self, path: Path) -> None:
        """Write an npz file, atomically."""
        facts = {name: getattr(self, name) for name in ("sample_ids", "groups", "targets", "thresholds")}
        arrays = {name: values for name, values in facts.items() if values is not None}
        with atomic(path) as temporary:
            np.savez(temporary, **arrays, **{one.key: found for one, found in self.logits.items()})  # type: ignore[arg-type]


def read_attacked(path: Path) -> Attacked:
    """Read a file of `Attacked.write`. Raises UserError where it is missing or damaged."""
    try:
        with np.load(path) as stored:
            arrays = {name: stored[name] for name in stored.files}
        return Attacked(
            sample_ids=arrays.pop("sample_ids"),
            groups=arrays.pop("groups"),
            targets=arrays.pop("targets"),
            thresholds=arrays.pop("thresholds", None),
            logits={setting_of(key): found for key, found in arrays.items()},
        )
    except (OSError, ValueError, EOFError, KeyError, BadZipFile) as error:
        raise UserError(f"{path}: cannot be read ({error}). Run make repro again, which makes it") from error
