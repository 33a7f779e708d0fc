"""A finished run in miniature: 12 samples, two classes, artefacts with known numbers."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.common.layout import Layout
from pipeline.params.tree import Params
from tests.data.made_files import write_hashes
from tests.report.attacked import write_attacked
from tests.report.shifted import write_csv, write_json, write_shift

SPLIT = ["train"] * 6 + ["val"] * 2 + ["test"] * 4
PUBLISHED = {
    "multiclass": ["A", "A", "A", "B", "B", "B", "A", "B", "A", "A", "B", "B"],
    "multilabel": ["A", "A|B", "", "B", "B", "", "A", "B", "A", "A|B", "B", ""],
}
PREPARED = {
    "source": "phantom",
    "classes": ["A", "B"],
    "image_size": 8,
    "channels": 1,
    "images": 12,
    "groups": 6,
    "sizes": [{"height": 10, "width": 20, "images": 7}, {"height": 1030, "width": 1024, "images": 3}],
    "other_sizes": 2,
    "quarantined": {"bad 1": "<truncated> after 7 bytes", "bad 2": "empty file"},
    "duplicate_sets": 2,
    "conflicting_sets": 1,
    "duplicates": [
        {"images": 2, "samples": ["s0", "s9"], "groups": ["g0", "g4"], "labels": ["A", "B"], "conflicting": True},
        {"images": 2, "samples": ["s1", "s2"], "groups": ["g0", "g1"], "labels": ["A", "A"], "conflicting": False},
    ],
    "params": {},
    "hashes": {},
    "sha256": "d" * 64,
}
COUNTS = {"multiclass": {"A": 6, "B": 6}, "multilabel": {"A": 5, "B": 6}}
NOISE = {
    # s0 alone is changed, from A to B, of the eight samples in train and val
    "multiclass": {
        "kind": "symmetric", "classes": ["A", "B"], "transition": [[3, 1], [0, 4]], "nominal": [[0.7, 0.3], [0.3, 0.7]],
    },
    "multilabel": {
        "kind": "flip",
        "classes": ["A", "B"],
        "per_class": {
            "A": {"present": 3, "missed": 1, "miss_rate": 1 / 3, "absent": 5, "false": 0, "false_rate": 0.0},
            "B": {"present": 4, "missed": 0, "miss_rate": 0.0, "absent": 4, "false": 1, "false_rate": 0.25},
        },
        "nominal": {"miss_rate": 0.2, "false_rate": 0.1},
    },
}  # fmt: skip
REALISED = {"realised": {"train": 1 / 6, "val": 0.0, "test": 0.0}, "corrected": 0}
AUDIT = {
    # resnet18 never saw s4 and s5, the others not s0 and s1
    "samples": 8,
    "without_unseen_teacher": {"train": 2, "val": 0},
    "votes": 1.5,
    "estimated_rate": 0.25,
    "known": {
        "wrong": 1,
        "average_precision": 0.75,
        "random": 0.2,
        "precision_at": {"50": 0.6, "100": 0.404},
        "per_class": {"B": {"wrong": 1, "average_precision": 0.875, "random": 0.25}},
        "on_train": {"score": 0.8, "self_confidence": 0.7004, "aum": 0.6, "disagreed": 0.5, "loss": 0.4, "random": 0.3},
    },
    "near_duplicates": {"images": 2, "across_splits": 2, "conflicting": 2},
}
TWINS = {
    "sample_id": ["s0", "s9"], "duplicate_of": ["s9", "s0"], "similarity": [0.9976, 0.9976], "group_id": ["g0", "g4"],
    "group_of": ["g4", "g0"], "split": ["train", "test"], "split_of": ["test", "train"], "given": ["B", "A"],
    "given_of": ["A", "B"],
}  # fmt: skip
CURVES = {
    "order": ["score", "score", "loss", "loss"], "checked": [1, 6, 1, 6], "precision": [1.0, 0.25, 0.5, 0.25],
    "recall": [0.6, 1.0, 0.3, 1.0],
}  # fmt: skip
ESTIMATED = [[2, 1], [0, 3]]
"""Images by true class, as the votes have it, and given class."""
DOUBTED = {
    # sample, finding, given, suggested; s0 is the one that noise changed
    "multiclass": [("s6", "", "A", "B"), ("s0", "", "B", "A"), ("s1", "", "A", "A")],
    "multilabel": [("s6", "B", "", "B"), ("s0", "A", "", "A"), ("s6", "A", "A", "A"), ("s1", "B", "B", "B")],
}
MEANS = {"baseline_1": 0.50, "baseline_3": 0.70, "baseline_3_same": 0.62, "baseline_5": 0.60, "roskd": 0.65}


def write_tables(layout: Layout, task: str, seeds: Sequence[int]) -> None:
    """What a report cannot do without; the figure of method m and seed s is MEANS[m] + s / 100."""
    ids = [f"s{i}" for i in range(12)]
    given = list(PUBLISHED[task])
    given[0] = "B"
    samples = {"sample_id": ids, "group_id": [f"g{i // 2}" for i in range(12)], "label": PUBLISHED[task]}
    write_csv(layout.samples, samples)
    write_csv(layout.splits, {"sample_id": ids, "split": SPLIT})
    labels = {"given": given, "published": PUBLISHED[task], "flipped": [1] + [0] * 11}
    write_csv(layout.labels, {"sample_id": ids} | labels)
    write_json(layout.data_report, PREPARED | {"task": task, "counts": COUNTS[task]})
    write_hashes(layout)
    write_json(layout.noise, NOISE[task] | REALISED)
    rows = []
    for seed in seeds:
        for method, mean in MEANS.items():
            checkpoint = "smoothed" if method == "roskd" else "last"
            key = {"seed": seed, "method": method, "checkpoint": checkpoint, "split": "test"}
            for metric in ("precision_macro", "recall_macro", "f1_macro", "auroc_macro", "ece"):
                rows.append(key | {"metric": metric, "class": "", "value": mean + seed / 100})
            rows.append(key | {"metric": "auroc", "class": "A", "value": mean})
            rows.append(key | {"metric": "auroc", "class": "B", "value": np.nan})
            rows.append(key | {"split": "val", "metric": "f1_macro", "class": "", "value": 0.1})
    write_csv(layout.student_metrics, rows)


def write_comparisons(layout: Layout, seeds: Sequence[int]) -> None:
    """Three pairs of RoS-KD and an ingredient's; from five seeds on also with seeds resampled, intervals 0.1 wider."""
    pairs = [("roskd", "baseline_1", 0.15, 0.05, 0.25, 0.012), ("roskd", "baseline_3", -0.05, -0.09, -0.01, 0.04)]
    pairs += [("roskd", "baseline_5", 0.05, -0.02, 0.12, 0.3)]
    pairs += [("baseline_3", "baseline_3_same", 0.08, 0.01, 0.15, 0.03)]
    kinds = {"groups": 0.0} | ({"groups+seeds": 0.1} if len(seeds) >= 5 else {})
    compared = [
        {"method_a": a, "method_b": b, "metric": metric, "difference": d, "low": low - wider, "high": high + wider}
        | {"p_value": p / 3, "p_holm": p + wider, "n_groups": 2, "n_seeds": len(seeds), "resampled": kind}
        for kind, wider in kinds.items()
        for a, b, d, low, high, p in pairs
        for metric in ("f1_macro", "auroc_macro")
    ]
    write_csv(layout.comparisons, compared)


def write_audit(layout: Layout, task: str) -> None:
    """The label audit's summary and table; its page is not read."""
    write_json(layout.audit_summary, AUDIT | ({"estimated_counts": ESTIMATED} if task == "multiclass" else {}))
    table = pd.DataFrame(DOUBTED[task], columns=["sample_id", "finding", "given", "suggested"])
    table = table.assign(score=np.arange(1, len(table) + 1) / len(table))
    write_csv(layout.near_duplicates, TWINS)
    write_csv(layout.orders, CURVES)
    write_csv(layout.suspects, table if task == "multilabel" else table.drop(columns="finding"))


def write_rest(layout: Layout, task: str, seeds: Sequence[int], architectures: list[str]) -> None:
    """What may be missing: comparisons, intervals, teachers, histories, subsets, predictions, audit, images."""
    write_comparisons(layout, seeds)
    write_audit(layout, task)
    write_attacked(layout, tuple(seeds))
    write_shift(layout, seeds)
    metrics = ("f1_macro", "auroc_macro")
    interval = {"checkpoint": "last", "low": 0.4, "high": 0.6, "n_groups": 2, "n_seeds": len(seeds)}
    write_csv(layout.intervals, [{"method": "baseline_1", "metric": m, "value": 0.5} | interval for m in metrics])
    teacher = {"pool": "subset", "split": "test", "metric": "f1_macro", "class": "", "value": 0.44}
    write_csv(layout.teacher_metrics, [{"seed": s, "architecture": a} | teacher for s in seeds for a in architectures])
    members = {"sample_id": [f"s{i}" for i in range(6)], architectures[0]: [1, 1, 1, 1, 0, 0]}
    members |= {name: [0, 0, 1, 1, 1, 1] for name in architectures[1:]}
    write_csv(layout.subsets, members)
    curve = [{"epoch": e, "split": "val", "metric": m, "value": 0.3 * e} for e in (1, 2) for m in metrics]
    targets = np.array([0, 0, 1, 1]) if task == "multiclass" else np.array([[1, 0], [1, 1], [0, 1], [0, 0]])
    logits = np.array([[2.0, -2], [-2, 2], [-2, 2], [-2, -1]])
    for seed in seeds:
        write_csv(layout.student_history(seed, None, "baseline_1"), curve)
        for name in architectures:
            write_csv(layout.teacher_history(seed, "subset", name), curve)
        path = layout.predictions(seed, "baseline_1", "last")
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, test_targets=targets, test_logits=logits)
    images = np.random.default_rng(0).integers(0, 255, (12, 8, 8, 1), dtype=np.uint8)
    np.save(layout.images, images)
    write_hashes(layout)


@pytest.fixture
def make_run(tmp_path: Path, make_params: Callable[..., Params]) -> Callable[..., tuple[Params, Layout]]:
    """Return a function that writes the artefacts of a run and returns its parameters and its paths.

    Sections, as of `make_params`, are laid over the parameters of the miniature.
    """

    def make(task: str = "multiclass", seeds: Sequence[int] = (0,), *, full: bool = True, K: int = 2, **sections: Any):
        architectures = ["resnet18", "densenet121"][:K]
        layout = Layout(tmp_path / "artifacts")
        write_tables(layout, task, seeds)
        if full:
            write_rest(layout, task, seeds, architectures)
        own = {
            "noise": {"kind": NOISE[task]["kind"]},
            "teachers": {"architectures": architectures},
            "training": {"epochs": 2},
            "views": {"count": 2},
        }
        return make_params(task=task, seeds=list(seeds), **(own | sections)), layout

    return make
