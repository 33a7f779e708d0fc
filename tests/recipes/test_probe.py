"""The recipe of probes: validation picks, all checkpoints answer alike, and what decides them."""

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score

from pipeline.common.layout import CHECKPOINTS
from pipeline.data.prepared import Prepared
from pipeline.distillation.probes import linear_probes, neighbours
from pipeline.evaluation.predictions import read_logits
from pipeline.params.tree import Params
from pipeline.recipes import probe as recipe
from pipeline.recipes.features import FEATURES
from pipeline.recipes.probe import probe
from pipeline.recipes.store import Node, Store
from pipeline.recipes.student import student
from pipeline.recipes.workshop import Workshop
from tests.models.made_weights import made_weights

N, C = 240, 3
MAKE = {"linear_probe": linear_probes, "knn": neighbours}
OF_SPLIT = np.repeat(["train", "val", "test"], N // 3)


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    return made_weights(tmp_path_factory.mktemp("weights") / "test_resnet.safetensors")


@pytest.fixture
def params_of(make_params, weights):
    def of(weights: Path = weights, **sections: Any) -> Params:
        head = {"architecture": "timm:test_resnet", "weights": str(weights), "train": "head", "width": 1.0}
        return make_params(student=head | sections.pop("student", {}), machine={"device": "cpu"}, **sections)

    return of


def prepared(seed: int = 0) -> Prepared:
    """Labels of three classes; of train and val a third is wrong."""
    drawn, names = np.random.default_rng(seed), np.arange(N).astype(str)
    published = drawn.integers(0, C, N)
    wrong = (drawn.random(N) < 1 / 3) & (OF_SPLIT != "test")
    given = np.where(wrong, (published + 1) % C, published)
    images = np.zeros((N, 32, 32, 3), np.uint8)
    return Prepared("multiclass", ("a", "b", "c"), images, names, names, OF_SPLIT, given, published)


def stored(given: Prepared, seed: int = 0) -> np.ndarray:
    """Features that overlap between the classes."""
    means = np.eye(C, 6)[given.published]
    return (means + np.random.default_rng(seed).normal(0, 0.8, (N, 6))).astype(np.float16)


def workshop(folder: Path, given: Prepared, digest: str = "d") -> Workshop:
    data: Any = SimpleNamespace(digest=digest, prepared=lambda params: given, members=lambda params: {})
    return Workshop(data, Store(folder / "store"))


@pytest.fixture
def made(monkeypatch, tmp_path, params_of):
    """Return a function that makes a probe on such features; gives its folder and what each epoch reported."""

    def make(run: str, given: Prepared, features: np.ndarray) -> tuple[Path, list[Any]]:
        asked: list[tuple[int, bool]] = []

        def node(shop: Workshop, params: Params, network: Any, view: int, *, of_teachers: bool = False) -> Node:
            asked.append((view, of_teachers))
            save = lambda folder, on_epoch: np.save(folder / FEATURES, features)  # noqa: E731
            return Node("features", "made up", {"sum": float(features.sum())}, (FEATURES,), save)

        monkeypatch.setattr(recipe, "features", node)
        shop, params, epochs = workshop(tmp_path, given), params_of(), []
        own = probe(shop, params, run)
        shop.store.get([own], lambda epoch, metrics: epochs.append((epoch, metrics)))
        assert asked == [(params.views.count, False)]  # the clean images
        return shop.store.path(own), epochs

    return make


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("run", MAKE)
def test_validation_picks_what_a_probe_leaves_open(made, run, seed):
    """Macro F1 on the given validation labels, worked out by scikit-learn; the first of the best."""
    given = prepared(seed)
    features = stored(given, seed)
    folder, epochs = made(run, given, features)
    of = {split: features[given.rows(split)].astype(np.float32) for split in ("train", "val", "test")}
    labels = {split: given.given[given.rows(split)] for split in ("train", "val")}
    candidates = MAKE[run](of["train"], labels["train"], "multiclass", C)
    scores = {
        name: f1_score(labels["val"], answer(of["val"]).argmax(axis=1), average="macro")
        for name, answer in candidates.items()
    }
    assert len(set(scores.values())) > 1
    picked = (folder / "picked.txt").read_text()
    assert picked == f"{max(scores, key=lambda name: scores[name])}\n"
    found = read_logits(folder / "predictions.npz")
    assert tuple(found) == CHECKPOINTS
    for logits in found.values():
        assert {*logits} == {*of}
        for split, values in logits.items():
            assert np.array_equal(values, candidates[picked.strip()](of[split]))
    ((epoch, metrics),) = epochs
    assert epoch == 1
    assert metrics["val/f1_macro"] == pytest.approx(max(scores.values()))
    of_train = found["last"]["train"][np.arange(N // 3), labels["train"]]
    assert metrics["train/loss"] == pytest.approx(-of_train.mean(), rel=1e-4)


def test_the_picks_of_validation_are_not_those_of_another_split(made):
    """So that the test above can fail."""
    picked, of_test = [], []
    for seed in range(3):
        given = prepared(seed)
        features = stored(given, seed).astype(np.float32)
        folder, _ = made("knn", given, stored(given, seed))
        picked.append((folder / "picked.txt").read_text().strip())
        rows, test = given.rows("train"), given.rows("test")
        scores = {
            name: f1_score(given.published[test], answer(features[test]).argmax(axis=1), average="macro")
            for name, answer in neighbours(features[rows], given.given[rows], "multiclass", C).items()
        }
        of_test.append(max(scores, key=lambda name: scores[name]))
    assert picked != of_test


@pytest.mark.parametrize(("lacking", "auroc"), [([2], 1.0), ([0, 1, 2], np.nan)])
def test_findings_are_probed_where_validation_lacks_some_or_all(made, lacking, auroc):
    """Their AUROC is undefined and left out of the mean; the first of equals is picked, as where none is defined."""
    drawn = np.random.default_rng(0)
    labels = (drawn.random((N, C)) < 0.4).astype(np.float32)
    truth = labels[OF_SPLIT == "test"] > 0
    features = np.concatenate([labels, drawn.random((N, 2))], axis=1).astype(np.float16)
    labels[np.ix_(OF_SPLIT == "val", lacking)] = 0
    given = replace(prepared(), task="multilabel", given=labels, published=labels)
    folder, epochs = made("linear_probe", given, features)
    assert (folder / "picked.txt").read_text() == "C 0.0001\n"
    assert epochs[0][1]["val/auroc_macro"] == pytest.approx(auroc, nan_ok=True)
    logits = read_logits(folder / "predictions.npz")["selected"]["test"]
    for finding in range(C):
        assert logits[truth[:, finding], finding].min() > logits[~truth[:, finding], finding].max()


@pytest.fixture
def key(tmp_path, params_of):
    """Return a function that gives the key of a probe as a student's node."""

    def of(run: str = "knn", seed: int = 0, given: Prepared | None = None, digest: str = "d", **sections: Any) -> str:
        shop = workshop(tmp_path, given or prepared(), digest)
        node = student(shop, params_of(**sections), seed, run, [])
        assert node.kind == "students"
        return node.key

    return of


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"seeds": [4, 5]},
        {"training": {"lr": 0.5, "optimiser": "adamw", "epochs": 2}},
        {"views": {"count": 7, "preset": "lesion", "seed": 3}},
        {"student": {"head": "mlp", "hidden": 9, "dropout": 0.1, "lr_factor": 0.5}},
        {"distillation": {"tau": 1.0}},
    ],
    ids=str,
)
def test_no_seed_schedule_head_or_view_decides_a_probe(key, changes):
    assert key(**changes) == key()


def test_labels_splits_data_weights_and_kind_decide_a_probe(key, weights, tmp_path):
    given, row = prepared(), {split: prepared().rows(split)[0] for split in ("train", "val", "test")}
    relabelled = []
    for split in ("train", "val"):
        labels = given.given.copy()
        labels[row[split]] = (labels[row[split]] + 1) % C
        relabelled.append(replace(given, given=labels))
    moved = given.split.copy()
    moved[row["test"]] = "unused"
    other = made_weights(tmp_path / "w.safetensors")
    other.write_bytes(other.read_bytes()[:-1] + b"x")
    of = [
        key(), key("linear_probe"), key(digest="e"), key(given=replace(given, split=moved)), key(weights=other),
        *(key(given=one) for one in relabelled), key(student={"architecture": "timm:test_efficientnet"}),
    ]  # fmt: skip
    assert len(set(of)) == len(of)
    published = given.published.copy()
    published[row["test"]] = (published[row["test"]] + 1) % C
    assert key(given=replace(given, published=published)) == key()
    assert key(weights=Path(shutil.copy(weights, tmp_path / "copied.safetensors"))) == key()


def test_a_probe_answers_from_the_real_features_of_clean_images(tmp_path, params_of):
    """Images of one colour for each class are told apart by any backbone."""
    labels = np.arange(60) % C
    images = np.zeros((60, 32, 32, 3), np.uint8)
    images[np.arange(60), :, :, labels] = 200
    names, split = np.arange(60).astype(str), np.repeat(["train", "val", "test"], 20)
    given = Prepared("multiclass", ("a", "b", "c"), images, names, names, split, labels, labels)
    shop = workshop(tmp_path, given)
    for run in MAKE:
        node = probe(shop, params_of(), run)
        shop.store.get([node])
        logits = read_logits(shop.store.file(node, "predictions.npz"))["smoothed"]["test"]
        assert (logits.argmax(axis=1) == labels[40:]).all()
    assert len(list((tmp_path / "store/features").glob("[!.]*"))) == 1
