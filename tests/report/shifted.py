"""What the stages external and shift leave, with known numbers."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.common.layout import Layout

KINDS = ["jpeg", "gaussian_noise"]
F1 = {
    "roskd": {"clean": 0.8, "jpeg": 0.7, "gaussian_noise": 0.5},
    "baseline_3": {"clean": 0.7, "jpeg": 0.6, "gaussian_noise": 0.65},
}
EXTERNAL = {
    "table": "clinic.csv", "images": 20, "groups": 10, "judged": 18, "quarantined": {"x.png": "is empty"},
    "shared": ["A"], "missing": ["B"], "surplus": ["scar"], "lookalikes": [["b", "B"]], "counts": {"A": 18, "scar": 2},
    "equal": 3, "equal_to": [["1.png", "s0"], ["2.png", "s1"], ["3.png", "s9"]],
}  # fmt: skip


def write_shift(layout: Layout, seeds: Sequence[int] = (0,), reference: str | None = "baseline_1") -> None:
    """Two methods' tables; seed s adds s / 50 to every figure; bounds are 0.1 away."""
    for seed in seeds:
        for method, by_kind in F1.items():
            rows = []

            def add(kind: str, severity: Any, metric: str, value: float, rows: list = rows, seed: int = seed) -> None:
                found = value + seed / 50
                key = {"kind": kind, "severity": severity, "metric": metric}
                rows.append(key | {"value": found, "low": found - 0.1, "high": found + 0.1})

            for kind, value in by_kind.items():
                severity = 0 if kind == "clean" else "mean"
                add(kind, severity, "f1_macro", value)
                add(kind, severity, "error", 1 - value)
            mean = np.mean([by_kind[kind] for kind in KINDS])
            add("all", "mean", "f1_macro", mean)
            add("all", "mean", "error", 1 - mean)
            if reference:
                add("all", "mean", "ce", 0.75)
            write_csv(layout.corruption_figures(seed, method), rows)
            summary = {"images": 4, "groups": 2, "kinds": KINDS, "severities": [1, 3], "reference": reference}
            write_json(layout.shift_summary(seed, method), summary)


def write_external(layout: Layout, **changes: object) -> None:
    write_json(layout.external_report, EXTERNAL | changes)
    for method in F1:
        rows = [
            {"source": source, "metric": metric, "value": value, "low": value - 0.1, "high": value + 0.1, "n_groups": 2}
            for source, value in (("external", 0.4), ("own", 0.6))
            for metric in ("f1_macro", "auroc_macro", "error")
        ]
        write_csv(layout.external_figures(0, method), rows)


def write_csv(path: Path, rows: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_csv(path, index=False)


def write_json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
