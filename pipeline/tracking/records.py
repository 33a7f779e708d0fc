"""What the artefacts say about each run: its curves from history.csv, its evaluation from the metrics files."""

import json
import math
import re
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path

from pipeline.common.class_names import in_metric
from pipeline.common.errors import UserError
from pipeline.common.files import sha256_file, sha256_json
from pipeline.common.layout import Layout
from pipeline.common.tables import read_csv
from pipeline.distillation.methods import METHODS, SUBJECT
from pipeline.evaluation.attacked import SWITCH_COLUMNS
from pipeline.evaluation.memorisation import TRAINING_COLUMNS
from pipeline.evaluation.metrics import HEADLINES
from pipeline.evaluation.predictions import TEACHER_COLUMNS
from pipeline.evaluation.shift import ALL
from pipeline.tracking.runs import Child
from pipeline.tracking.session import Point
from pipeline.training.history import read_history

OVER_CORRUPTIONS = {"ce": "mce", "f1_macro": "corrupted_f1_macro", "error": "corrupted_error"}
"""What is tracked of the mean over corruptions."""
AT_HALF = "_at_0.5"
"""Suffix of metrics at the fixed threshold 0.5, at which the curves are taken; the plain names are at tuned ones."""


def curves(path: Path) -> list[Point]:
    """The epoch curves of a history.csv, non-finite values left out."""
    rows = read_history(path).to_dict("records")
    points = [Point(f"{row['split']}/{row['metric']}", int(row["epoch"]), float(row["value"])) for row in rows]
    return [point for point in points if math.isfinite(point.value)]


def curves_of(child: Child, measured: Mapping[str, float]) -> list[Point]:
    """The curves a child shows; another result of a run has those curves whose end it measures for itself."""
    assert child.history is not None
    points = curves(child.history)
    own = METHODS.get(child.params["method"])
    is_other_result = own is not None and own.run != child.params["method"]
    return [point for point in points if point.key in measured] if is_other_result else points


def content(child: Child) -> str:
    """The hash of what the child's curves are made from."""
    assert child.history is not None
    if not child.history.is_file():
        raise UserError(
            f"{child.history}: no such file; run make repro, which trains {child.title}, before it is tracked"
        )
    return sha256_file(child.history)


def audited(layout: Layout) -> dict[str, float]:
    """The figures of the label audit, `{"audit/average_precision": 0.95, ...}`; empty where there was none."""
    if not layout.audit_summary.is_file():
        return {}
    summary = json.loads(layout.audit_summary.read_text(encoding="utf-8"))
    known = summary.get("known", {})
    found = {"estimated_rate": summary.get("estimated_rate"), "average_precision": known.get("average_precision")}
    return {f"audit/{name}": float(value) for name, value in found.items() if value is not None}


def sharpness(layout: Layout, seed: int, method: str) -> dict[str, float]:
    """How sharp the loss around one student is, `{"sharpness/trace": 1346.0, ...}`; empty where that is not known."""
    path = layout.sharpness(seed, method)
    if not path.is_file():
        return {}
    content = json.loads(path.read_text(encoding="utf-8"))
    found = {"loss": content["loss"]}
    for name in ("top_eigenvalue", "trace"):
        found |= {name: content[name]["value"], f"{name}_error": content[name]["standard_error"]}
    return {f"sharpness/{name}": float(value) for name, value in found.items()}


def shifted(layout: Layout, tried: Iterable[tuple[int, str]]) -> dict[str, float]:
    """Return the figures under shift of pairs of seed and method, as means over seeds.

    `{"shift/mce/roskd": 0.7, "shift/external_f1_macro/roskd": 0.6, ...}`: `corrupted_f1_macro` is the
    mean over corruptions and severities; without Baseline I there is no `mce`.
    """
    collected: dict[str, list[float]] = defaultdict(list)

    def add(path: Path, name: str, text: str) -> None:
        value = _number(text)
        if value is not None:
            collected[f"shift/{name}/{path.parent.name}"].append(value)

    for seed, method in tried:
        corrupted, external = layout.corruption_figures(seed, method), layout.external_figures(seed, method)
        for row in _rows(corrupted, ("kind", "metric", "value")) if corrupted.is_file() else ():
            if row["kind"] == ALL and row["metric"] in OVER_CORRUPTIONS:
                add(corrupted, OVER_CORRUPTIONS[row["metric"]], row["value"])
        for row in _rows(external, ("source", "metric", "value")) if external.is_file() else ():
            if row["source"] == "external":
                add(external, f"external_{row['metric']}", row["value"])
    return {key: math.fsum(values) / len(values) for key, values in collected.items()}


class Evaluation:
    """The values measured once, after training, per child: `{"test/f1_macro": 0.6, ...}`."""

    def __init__(self, layout: Layout, landscapes: Iterable[tuple[int, str]] = ()):
        """Read students.csv and teachers.csv, and of `landscapes`, pairs of seed and method, the sharpness.

        Raises UserError where a table is missing or malformed.
        """
        self._values: dict[str, dict[str, float]] = defaultdict(dict)
        columns = ("seed", "method", "checkpoint", "split", "metric", "class", "value")
        for row in _rows(layout.student_metrics, columns):
            if row["method"] in METHODS:  # older code may have had others
                self._add(f"{row['method']}/seed{row['seed']}", _student_key(row), row["value"])
        for values in self._values.values():
            for key in [key for key in values if key.startswith("val/") and key.endswith(AT_HALF)]:
                values[key.removesuffix(AT_HALF)] = values.pop(key)  # the end of a curve is measured as the curve
        for row in _rows(layout.teacher_metrics, TEACHER_COLUMNS):
            key = _key("test", row["metric"], row["class"]) if row["split"] == "test" else None
            self._add(f"teacher/{row['pool']}/{row['architecture']}/seed{row['seed']}", key, row["value"])

        for row in _rows(layout.training_metrics, TRAINING_COLUMNS):
            name = f"teacher/{row['pool']}/{row['network']}" if row["pool"] else row["network"]
            self._add(f"{name}/seed{row['seed']}", _key("training", row["metric"]), row["value"])
        for seed, method in landscapes:
            self._values[f"{method}/seed{seed}"] |= sharpness(layout, seed, method)

        for row in _rows(layout.trust_checks, ("seed", "method", "passed")) if layout.trust_checks.is_file() else ():
            self._add_attacked(layout, int(row["seed"]), row["method"], failed=row["passed"] != "1")

    def _add_attacked(self, layout: Layout, seed: int, method: str, *, failed: bool) -> None:
        """What attacks left of one student, once, and how many of its trust checks failed.

        `robust/pgd/l2/0.25/f1_macro`; of single findings `robust/switched/Mass/present/l2/0.25`, the share of images.
        """
        own = self._values[f"{method}/seed{seed}"]
        if "robust/checks_failed" not in own:
            own["robust/checks_failed"] = 0.0
            for row in _rows(layout.attack_figures(seed, method), ("attack", "norm", "eps", "metric", "value")):
                attack = (row["attack"], *_budget(row))
                self._add(f"{method}/seed{seed}", _key("robust", *attack, row["metric"]), row["value"])
            switched = layout.switched(seed, method)
            for row in _rows(switched, SWITCH_COLUMNS) if switched.is_file() else ():
                key = _key("robust", "switched", row["finding"], row["wanted"], *_budget(row))
                self._add(f"{method}/seed{seed}", key, row["switched"])
        own["robust/checks_failed"] += failed

    def of(self, child: Child) -> dict[str, float]:
        """What was measured of one child; empty if nothing was."""
        return self._values.get(child.name, {})

    def points(self, child: Child, curve: list[Point]) -> list[Point]:
        """The same as points: at step 0, but a method's own validation ends its `curve`, a step after the last."""
        after = max((point.step for point in curve), default=0) + 1
        drawn = {point.key for point in curve}
        ends = re.compile(r"val/[^/]+").fullmatch
        return [
            Point(key, after if ends(key) else 0, value)
            for key, value in self.of(child).items()
            if key in drawn or not ends(key)
        ]

    def _add(self, name: str, key: str | None, text: str) -> None:
        value = _number(text)
        if key is not None and value is not None:
            self._values[name][key] = value


def headlines(students: Iterable[Child], evaluation: Evaluation) -> dict[str, float]:
    """The parent's own metrics, means over seeds: SUBJECT's overall `test/...`, and `methods/f1_macro/<method>`."""
    collected: dict[str, list[float]] = defaultdict(list)
    for child in students:
        method = child.params["method"]
        for key, value in evaluation.of(child).items():
            split, _, metric = key.partition("/")
            if split == "test" and metric in HEADLINES:
                collected[f"methods/{metric}/{method}"].append(value)
            if split == "test" and method == SUBJECT and "/" not in metric:
                collected[key].append(value)
    return {key: math.fsum(values) / len(values) for key, values in collected.items()}


def values_hash(values: dict[str, float]) -> str:
    """The hash of a set of named values, whatever their order."""
    return sha256_json(values)


def _student_key(row: dict[Hashable, str]) -> str | None:
    """`test/f1_macro` of the method's own checkpoint, `test/selected/f1_macro` of its other checkpoints.

    Validation of the last weights is left out, because it is the last point of the curve; so is validation by class.
    """
    split, method = row["split"], METHODS[row["method"]]
    ends_a_curve = method.run == row["method"] and method.checkpoint == "last"
    main = row["checkpoint"] == method.checkpoint
    if row["class"]:
        return _key(split, row["metric"], row["class"]) if main and split == "test" else None
    if main:
        return _key(split, row["metric"]) if split == "test" or not ends_a_curve else None
    return _key(split, row["checkpoint"], row["metric"])


def _rows(path: Path, columns: Sequence[str]) -> list[dict[Hashable, str]]:
    return read_csv(path, columns).to_dict("records")


def _key(*parts: str) -> str:
    """A metric name as MLflow allows it."""
    return "/".join(in_metric(part) for part in parts if part)


def _budget(row: dict[Hashable, str]) -> tuple[str, ...]:
    """The norm and budget of an attack, as parts of a metric's name."""
    return (row["norm"], f"{float(row['eps']):.15g}") if float(row["eps"]) else ("clean",)


def _number(text: str) -> float | None:
    value = float(text) if text.strip() else math.nan
    return value if math.isfinite(value) else None
