"""Stages external and shift on a small prepared project with students of random weights."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from models.classifier import Classifier, save_weights
from models.heads import HeadAlone
from models.inference import predict
from models.networks import build
from pipeline.common.errors import UserError
from pipeline.common.layout import Layout
from pipeline.common.tables import read_csv
from pipeline.data.prepared import PreparedData, load_prepared
from pipeline.distillation.methods import METHODS
from pipeline.evaluation.corruptions import corrupt
from pipeline.evaluation.metrics import evaluate
from pipeline.evaluation.predictions import write_logits
from pipeline.evaluation.tuning import tune_thresholds
from pipeline.params.tree import Params
from pipeline.recipes import shift as recipe
from pipeline.recipes.trained import trained_student, weights_of
from pipeline.recipes.workshop import open_workshop
from pipeline.stages import external, shift
from tests.data.made_files import write_prepared, write_split
from tests.models.made_weights import made_weights

CLASSES, SIDE, N = ("A", "B", "C"), 32, 60
SPLIT = np.array(["train", "val", "test"])[np.arange(N) // 20]
TEST = np.flatnonzero(SPLIT == "test")
LABELS = {
    "multiclass": [CLASSES[i % 3] for i in range(N)],
    "multilabel": ["|".join(name for c, name in enumerate(CLASSES) if (i + c) % (c + 2) == 0) for i in range(N)],
}


@pytest.fixture
def layout(tmp_path) -> Layout:
    return Layout(tmp_path / "artifacts")


@pytest.fixture
def params_of(make_params) -> Callable[..., Params]:
    def of(methods: Sequence[str] = ("baseline_1", "roskd"), images: int | None = 12, **sections: Any) -> Params:
        task = sections.get("task", "multiclass")
        corruptions = {"kinds": ["jpeg", "gaussian_noise"], "severities": [1, 5], "images": images}
        own = {
            "data": {"image_size": SIDE, "max_bad_fraction": 0.2},
            "noise": {"kind": "none"},
            "student": sections.pop("student", {"width": 0.125}),
            "machine": {"device": "cpu", "workers": 1},
            "robustness": {"corruptions": corruptions} | sections.pop("robustness", {}),
        }
        return make_params(methods=list(methods), **(own | {"task": task} | sections))

    return of


def make(layout: Layout, params: Params, channels: int = 3) -> np.ndarray:
    """Write what earlier stages leave, with students of random weights; returns the images."""
    rng = np.random.default_rng(5)
    images = rng.integers(60, 200, (N, SIDE, SIDE, channels), dtype=np.uint8)
    labels = LABELS[params.task]
    groups = [f"g{i // 2}" for i in range(N)]
    write_prepared(layout, CLASSES, labels, images=images, groups=groups, channels=channels, sha256="d" * 64)
    write_split(layout, SPLIT)
    ids = [f"s{i}" for i in range(N)]
    pd.DataFrame({"sample_id": ids, "given": labels, "published": labels}).to_csv(layout.labels, index=False)
    for number, name in enumerate(params.methods):
        torch.manual_seed(number)
        network = params.student_network
        frozen = network.weights if network.train == "head" else None
        student = build(network.architecture, num_classes=3, weights=frozen, **network.layers)
        path = weights_of(layout, 0, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        save_weights((student if frozen is None else HeadAlone(student.head)).state_dict(), path)
        method = METHODS[name]
        logits = {split: answers(student, images[split == SPLIT]) for split in ("val", "test")}
        write_logits(layout.student_predictions(0, method.pool, method.run), {method.checkpoint: logits})
    return images


def answers(student: Classifier, images: np.ndarray) -> np.ndarray:
    return predict(student, images, np.arange(len(images)), torch.device("cpu"))


def targets(task: str, rows: np.ndarray) -> np.ndarray:
    cells = np.array(LABELS[task])[rows]
    if task == "multiclass":
        return np.array([CLASSES.index(cell) for cell in cells])
    return np.array([[name in cell.split("|") for name in CLASSES] for cell in cells], dtype=np.float32)


def figure(path: Path, **keys: object) -> float:
    table = read_csv(path)
    for name, value in keys.items():
        table = table.loc[table[name] == str(value)]
    (value,) = table["value"]
    return float(value)


def write_clinic(folder: Path, images: Sequence[np.ndarray], labels: Sequence[str]) -> Path:
    """A table beside its images, two to a patient."""
    folder.mkdir()
    for number, image in enumerate(images):
        Image.fromarray(image.squeeze()).save(folder / f"{number}.png")
    table = {"image": [f"{n}.png" for n in range(len(images))], "label": labels}
    table["who"] = [f"p{n // 2}" for n in range(len(images))]
    pd.DataFrame(table).to_csv(folder / "clinic.csv", index=False)
    return folder / "clinic.csv"


def run(params: Params, layout: Layout, method: str = "roskd") -> None:
    external.run(params, layout)
    shift.run(params, layout, 0, method)


@pytest.mark.parametrize(("task", "channels"), [("multiclass", 3), ("multilabel", 1)])
def test_figures_are_those_of_the_student_on_corrupted_test_images(layout, params_of, task, channels):
    params = params_of(task=task, images=None)
    images = make(layout, params, channels)
    run(params, layout)
    student = trained_student(params, layout, 0, "roskd", 3)
    rows, cuts = TEST, None
    if task == "multilabel":
        cuts = tune_thresholds(answers(student, images[SPLIT == "val"]), targets(task, np.flatnonzero(SPLIT == "val")))
    path = layout.corruption_figures(0, "roskd")
    for kind, severity in (("clean", 0), ("jpeg", 5), ("gaussian_noise", 1)):
        shown = images[rows] if kind == "clean" else corrupt(images[rows], rows, kind, severity, 0)
        table = evaluate(params.task, answers(student, shown), targets(task, rows), CLASSES, cuts)
        overall = table.loc[table["class"] == ""].set_index("metric")["value"]
        for metric in ("f1_macro", "auroc_macro"):
            found = figure(path, kind=kind, severity=severity, metric=metric)
            assert found == pytest.approx(overall[metric], abs=1e-6), (kind, metric)
        if task == "multiclass":
            error = figure(path, kind=kind, severity=severity, metric="error")
            assert error == pytest.approx(1 - overall["balanced_accuracy"])
    summary = json.loads(layout.shift_summary(0, "roskd").read_text())
    assert summary == {
        "images": 20, "groups": 10, "kinds": ["jpeg", "gaussian_noise"], "severities": [1, 5],
        "reference": "baseline_1",
    }  # fmt: skip
    assert not layout.external_figures(0, "roskd").exists()


def test_the_corruption_error_is_relative_to_baseline_1_on_the_same_images(layout, params_of):
    params = params_of()
    make(layout, params)
    run(params, layout, "baseline_1")
    run(params, layout)
    own, base = (layout.corruption_figures(0, name) for name in ("roskd", "baseline_1"))
    errors = {
        path: {kind: figure(path, kind=kind, severity="mean", metric="error") for kind in ("jpeg", "gaussian_noise")}
        for path in (own, base)
    }
    ratios = {kind: errors[own][kind] / errors[base][kind] for kind in errors[own]}
    for kind, ratio in ratios.items():
        assert figure(own, kind=kind, severity="mean", metric="ce") == pytest.approx(ratio)
    mean = np.mean(list(ratios.values()))
    assert figure(own, kind="all", severity="mean", metric="ce") == pytest.approx(mean)
    assert figure(base, kind="all", severity="mean", metric="ce") == 1


def test_without_baseline_1_errors_are_absolute(layout, params_of, capsys):
    params = params_of(["roskd"])
    make(layout, params)
    run(params, layout)
    table = read_csv(layout.corruption_figures(0, "roskd"))
    assert set(table["metric"]) == {"f1_macro", "auroc_macro", "error"}
    assert json.loads(layout.shift_summary(0, "roskd").read_text())["reference"] is None
    assert "corrupted\n" in capsys.readouterr().out


def test_a_method_that_is_not_trained_has_an_empty_table(layout, params_of, capsys):
    params = params_of()
    make(layout, params)
    run(params, layout, "baseline_3")
    assert read_csv(layout.corruption_figures(0, "baseline_3")).empty
    assert "baseline_3 is not in `methods`" in capsys.readouterr().out


def test_a_killed_run_asks_only_for_what_is_missing_and_ends_alike(layout, params_of, monkeypatch, tmp_path):
    params = params_of()
    make(layout, params)
    run(params, layout)
    whole = layout.corruption_figures(0, "roskd").read_bytes()
    other = Layout(tmp_path / "other")
    make(other, params)
    asked: list[str] = []

    def dies(images: np.ndarray, rows: np.ndarray, kind: str, severity: int, seed: int) -> np.ndarray:
        asked.append(f"{kind} {severity}")
        if len(asked) == 3:
            raise KeyboardInterrupt
        return corrupt(images, rows, kind, severity, seed)

    monkeypatch.setattr(recipe, "corrupt", dies)
    with pytest.raises(KeyboardInterrupt):
        run(params, other)
    assert not other.shift(0, "roskd").exists()
    run(params, other)
    assert asked[:3] == ["jpeg 1", "jpeg 5", "gaussian_noise 1"]
    assert asked[3:5] == ["gaussian_noise 1", "gaussian_noise 5"], "of roskd; then the reference's four"
    assert len(asked) == 3 + 2 + 4
    assert other.corruption_figures(0, "roskd").read_bytes() == whole
    run(params, other)
    assert len(asked) == 9, "nothing is asked twice"


def test_so_many_images_are_drawn_the_same_for_every_method(layout, params_of):
    params = params_of()
    make(layout, params)
    external.run(params, layout)
    workshop = open_workshop(params, layout)
    first, second = (recipe.Tried(workshop, params, layout, 0, name).rows for name in params.methods)
    np.testing.assert_array_equal(first, second)
    assert len(first) == 12
    assert set(first.tolist()) < set(TEST.tolist())
    assert (np.diff(first) > 0).all()
    everything = params_of(images=None)
    np.testing.assert_array_equal(recipe.Tried(workshop, everything, layout, 0, "roskd").rows, TEST)


def test_external_images_are_judged_on_the_classes_of_both_beside_our_own(layout, params_of, tmp_path, capsys):
    """C is missing, Z is none of ours; our own figures leave out C's images, too. Two images were met before."""
    images = make(layout, params_of())
    rng = np.random.default_rng(8)
    clinic = rng.integers(0, 256, (14, SIDE, SIDE, 3), dtype=np.uint8)
    clinic[3], clinic[5] = images[7], images[TEST[0]]
    labels = ["A", "B", "Z", "A", "B", "A", "B"] * 2
    path = write_clinic(tmp_path / "clinic", list(clinic), labels)
    params = params_of(robustness={"external": str(path)}, data={"image_size": SIDE, "table": {"group": "who"}})
    run(params, layout)
    report = json.loads(layout.external_report.read_text())
    expected = {"shared": ["A", "B"], "missing": ["C"], "surplus": ["Z"], "counts": {"A": 6, "B": 6, "Z": 2}}
    expected |= {"images": 14, "groups": 7, "judged": 12}
    assert expected.items() <= report.items()
    assert report["equal_to"] == [["3.png", "s7"], ["5.png", f"s{TEST[0]}"]]
    printed = capsys.readouterr().out
    assert "it has no image of C\n" in printed
    assert "its classes Z are none of ours, and are left out\n" in printed
    assert "warning: 2 of its images have the same pixels as images of our own data" in printed
    student, table = trained_student(params, layout, 0, "roskd", 3), layout.external_figures(0, "roskd")
    kept = np.array(labels) != "Z"
    own = TEST[targets("multiclass", TEST) < 2]
    sets = {
        "external": (clinic[kept], np.array([CLASSES.index(name) for name in np.array(labels)[kept]])),
        "own": (images[own], targets("multiclass", own)),
    }
    for source, (shown, truth) in sets.items():
        expected = evaluate("multiclass", answers(student, shown), truth, CLASSES).set_index(["metric", "class"])
        for metric in ("f1_macro", "auroc_macro"):
            found = figure(table, source=source, metric=metric)
            assert found == pytest.approx(float(expected.loc[(metric, ""), "value"]), abs=1e-6)
    groups = {row["source"]: row["n_groups"] for row in read_csv(table).to_dict("records")}
    assert groups == {"external": "7", "own": str(len({row // 2 for row in own}))}


def test_shared_classes_without_an_image_on_either_side_are_named(layout, params_of, tmp_path, monkeypatch):
    make(layout, params_of())
    clinic = np.random.default_rng(8).integers(0, 256, (4, SIDE, SIDE, 3), dtype=np.uint8)
    path = write_clinic(tmp_path / "clinic", list(clinic), ["A", "B", "A", "B"])
    params = params_of(robustness={"external": str(path)}, data={"image_size": SIDE, "table": {"group": "who"}})
    found = load_prepared(layout, "multiclass")
    rare = replace(found, published=np.where(found.split == "test", 2, found.published))
    monkeypatch.setattr(PreparedData, "prepared", lambda self, params: rare)
    with pytest.raises(UserError, match=r"robustness\.external: the own test split has no image of .* A, B"):
        run(params, layout)


def test_findings_that_the_external_set_lacks_are_not_judged(layout, params_of, tmp_path):
    images = make(layout, params_of(task="multilabel"))
    clinic = np.random.default_rng(8).integers(0, 256, (12, SIDE, SIDE, 3), dtype=np.uint8)
    labels = ["A", "", "B|Z", "A|B", "", "Z"] * 2
    path = write_clinic(tmp_path / "clinic", list(clinic), labels)
    table = {"group": None, "separator": "|"}
    params = params_of(task="multilabel", robustness={"external": str(path)}, data={"image_size": SIDE, "table": table})
    run(params, layout)
    student = trained_student(params, layout, 0, "roskd", 3)
    val = np.flatnonzero(SPLIT == "val")
    cuts = tune_thresholds(answers(student, images[val]), targets("multilabel", val))[:2]
    truth = np.array([[name in cell.split("|") for name in "AB"] for cell in labels], dtype=np.float32)
    expected = evaluate("multilabel", answers(student, clinic)[:, :2], truth, ("A", "B"), cuts)
    expected = expected.loc[expected["class"] == ""].set_index("metric")["value"]
    for metric in ("f1_macro", "auroc_macro"):
        found = figure(layout.external_figures(0, "roskd"), source="external", metric=metric)
        assert found == pytest.approx(expected[metric], abs=1e-6)


def test_external_images_that_cannot_be_read_are_left_out_or_refused(layout, params_of, tmp_path):
    make(layout, params_of())
    clinic = np.random.default_rng(8).integers(0, 256, (6, SIDE, SIDE, 3), dtype=np.uint8)
    path = write_clinic(tmp_path / "clinic", list(clinic), ["A", "B"] * 3)
    (path.parent / "4.png").write_bytes(b"no image")
    params = params_of(robustness={"external": str(path)})
    external.run(params, layout)
    report = json.loads(layout.external_report.read_text())
    assert (report["images"], list(report["quarantined"])) == (5, ["4.png"])
    assert len(np.load(layout.external_images)) == len(read_csv(layout.external_samples)) == 5
    (path.parent / "2.png").write_bytes(b"")
    with pytest.raises(UserError) as error:
        external.run(params, layout)
    assert str(error.value).startswith(f"robustness.external: {path}: prepare: 2 of 6 images cannot be read")


def test_external_images_are_decoded_once_until_a_file_changes(layout, params_of, tmp_path, capsys):
    make(layout, params_of())
    clinic = np.random.default_rng(8).integers(0, 256, (6, SIDE, SIDE, 3), dtype=np.uint8)
    path = write_clinic(tmp_path / "clinic", list(clinic), ["A", "B"] * 3)
    params = params_of(robustness={"external": str(path)})
    for _ in range(2):
        external.run(params, layout)
    assert len(list((layout.store / "external").glob("[!.]*"))) == 1
    np.testing.assert_array_equal(np.load(layout.external_images), clinic)
    Image.fromarray(clinic[0] ^ 255).save(path.parent / "5.png")
    external.run(params, layout)
    np.testing.assert_array_equal(np.load(layout.external_images)[5], clinic[0] ^ 255)
    external.run(params_of(), layout)
    assert json.loads(layout.external_report.read_text()) == {"table": None}
    assert not layout.external_images.exists()


def test_heads_share_what_their_backbone_makes_of_an_image(layout, params_of, tmp_path, monkeypatch):
    """Answers are those of the whole network; the second method's head asks nothing of the backbone."""
    weights = made_weights(tmp_path / "test_resnet.safetensors")
    head = {"architecture": "timm:test_resnet", "weights": str(weights), "train": "head", "width": 1.0}
    params = params_of(student=head, images=None)
    images = make(layout, params)
    run(params, layout, "baseline_1")
    monkeypatch.setattr(recipe, "corrupt", lambda *_: pytest.fail("the backbone was asked again"))
    run(params, layout)
    student = trained_student(params, layout, 0, "roskd", 3)
    shown = corrupt(images[TEST], TEST, "jpeg", 5, 0)
    expected = evaluate("multiclass", answers(student, shown), targets("multiclass", TEST), CLASSES)
    expected = expected.loc[expected["class"] == ""].set_index("metric")["value"]
    for metric in ("f1_macro", "auroc_macro"):
        found = figure(layout.corruption_figures(0, "roskd"), kind="jpeg", severity=5, metric=metric)
        assert found == pytest.approx(expected[metric], abs=1e-6)
