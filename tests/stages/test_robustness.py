"""Stage robustness on a small project: what is attacked, what the files say, and how a killed run goes on."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from models.classifier import load_weights, save_weights
from pipeline.common.errors import UserError
from pipeline.common.files import sha256_file
from pipeline.common.layout import Layout
from pipeline.common.seeds import stream
from pipeline.common.tables import read_csv
from pipeline.data.prepared import load_prepared
from pipeline.evaluation.attacked import CLEAN, Attacked, Setting, read_attacked, robust_figures
from pipeline.evaluation.attacks import fgsm, pgd
from pipeline.evaluation.goals import Goal, cuts_of
from pipeline.evaluation.predictions import read_logits
from pipeline.evaluation.square import square
from pipeline.evaluation.tuning import tune_thresholds
from pipeline.params.tree import Params
from pipeline.recipes import attacked as recipe
from pipeline.recipes.trained import trained_student, weights_of
from pipeline.stages import robustness, robustness_compare
from tests.data.made_files import write_hashes
from tests.models.made_weights import made_weights
from tests.stages.attacked import CLASSES, TEST, write_project, write_students

METHODS = ["baseline_1", "baseline_3", "roskd"]
SMALL = {"images": 12, "l2": [0.5], "linf": [2], "steps": 3, "restarts": 2, "queries": 6, "seed": 3}


@pytest.fixture
def params_of(make_params) -> Callable[..., Params]:
    def of(methods: list[str] | None = None, attacks: dict[str, Any] | None = None, **sections: Any) -> Params:
        own: dict[str, Any] = {
            "data": {"image_size": 32},
            "student": {"width": 0.125},
            "machine": {"device": "cpu"},
            "robustness": {"methods": ["roskd", "baseline_3"], "attacks": SMALL | (attacks or {})},
        }
        if sections.get("task") == "multilabel":
            own["noise"] = {"kind": "flip"}
        return make_params(methods=methods or METHODS, **(own | sections))

    return of


def attack(params: Params, layout: Layout, method: str = "roskd", seed: int = 0) -> Attacked:
    robustness.run(params, layout, seed, method)
    return read_attacked(layout.attacked_logits(seed, method))


def images_of(layout: Layout, found: Attacked) -> tuple[np.ndarray, torch.Tensor, torch.Tensor]:
    """The rows, pixels and published labels of the attacked samples."""
    prepared = load_prepared(layout, "multilabel" if found.targets.ndim == 2 else "multiclass")
    rows = np.flatnonzero(np.isin(prepared.sample_ids, found.sample_ids))
    return rows, torch.from_numpy(prepared.images[rows]).permute(0, 3, 1, 2) / 255, torch.from_numpy(
        prepared.published[rows]
    )  # fmt: skip


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_the_answers_are_those_to_the_attacks_on_the_trained_student(tmp_path, params_of, task):
    """Each attack, redone by hand; transferred images are made against Baseline I."""
    params, layout = params_of(task=task), write_project(tmp_path, task)
    write_students(layout, params, METHODS)
    found = attack(params, layout)
    rows, images, targets = images_of(layout, found)
    assert set(found.targets.shape) == set(targets.shape)
    target, plain = (
        trained_student(params, layout, 0, name, 3).requires_grad_(False) for name in ("roskd", "baseline_1")
    )
    thresholds = None
    if task == "multilabel":
        thresholds = tune_thresholds(
            read_logits(layout.student_predictions(0, "subset", "baseline_5"))["smoothed"]["val"],
            load_prepared(layout, task).targets("val"),
        )
        assert found.thresholds is not None
        np.testing.assert_array_equal(found.thresholds, thresholds)
    goal = Goal(task, targets, None if thresholds is None else torch.from_numpy(cuts_of(thresholds)))  # type: ignore[arg-type]

    def climbed(network: torch.nn.Module, norm: Any, eps: float) -> torch.Tensor:
        draws = lambda restart: [stream(3, f"pgd {restart}", int(row)) for row in rows]  # noqa: E731
        return pgd(network, images, goal, norm, eps, steps=3, restarts=2, draws=draws)

    made = {CLEAN: images}
    for norm, eps, budget in (("l2", 0.5, 0.5), ("linf", 2.0, 2 / 255)):
        squares = [stream(3, "square", int(row)) for row in rows]
        made |= {
            Setting("fgsm", norm, eps): fgsm(target, images, goal, norm, budget),
            Setting("pgd", norm, eps): climbed(target, norm, budget),
            Setting("square", norm, eps): square(target, images, goal, norm, budget, queries=6, draws=squares),
            Setting("transfer", norm, eps): climbed(plain, norm, budget),
        }
    assert list(found.logits) == list(made)
    for setting, attacked in made.items():
        with torch.no_grad():
            np.testing.assert_allclose(
                found.logits[setting], target(attacked), rtol=1e-4, atol=1e-4, err_msg=setting.key
            )
    table = read_csv(layout.attack_figures(0, "roskd"))
    assert list(table) == ["attack", "norm", "eps", "metric", "value"]
    for setting, logits in found.logits.items():
        figures = robust_figures(task, logits, found.targets, CLASSES, thresholds)  # type: ignore[arg-type]
        own = table.loc[(table["attack"] == setting.attack) & (table["norm"] == setting.norm)]
        assert dict(zip(own["metric"], own["value"].astype(float), strict=True)) == pytest.approx(figures, nan_ok=True)
    checks = read_csv(layout.attack_checks(0, "roskd"))
    assert sorted(set(checks["check"])) == [
        "gradients", "monotone", "pgd_at_least_fgsm", "square_not_stronger", "transfer_not_stronger",
    ]  # fmt: skip
    assert set(checks["passed"]) <= {"0", "1"}


def test_about_so_many_images_in_whole_groups_are_attacked_the_same_for_every_method_and_seed(tmp_path, params_of):
    params, layout = params_of(seeds=[0, 1]), write_project(tmp_path)
    write_students(layout, params, METHODS, seeds=(0, 1))
    found = [attack(params, layout, method, seed) for method in ("roskd", "baseline_3") for seed in (0, 1)]
    first = found[0]
    assert len(first.sample_ids) == 12
    assert all(np.array_equal(one.sample_ids, first.sample_ids) for one in found)
    assert (np.unique(first.groups, return_counts=True)[1] == 2).all()
    assert all(int(name[1:]) >= 20 for name in first.sample_ids), "of the test split"
    assert not np.array_equal(found[0].logits[CLEAN], found[1].logits[CLEAN])
    others = attack(params_of(attacks={"seed": 4}), layout)
    assert not np.array_equal(others.sample_ids, first.sample_ids)
    for count in (None, TEST, 1000):
        whole = attack(params_of(attacks={"images": count, "l2": [], "queries": 1, "steps": 1}), layout)
        assert len(whole.sample_ids) == TEST


def test_figures_are_the_same_for_the_same_seed(tmp_path, params_of):
    params, layout = params_of(), write_project(tmp_path)
    write_students(layout, params, METHODS)
    attack(params, layout)
    files = [layout.attack_figures(0, "roskd"), layout.attack_checks(0, "roskd"), layout.attacked_logits(0, "roskd")]
    first = [sha256_file(path) for path in files]
    for folder in (layout.store / "attacks").iterdir():
        for path in folder.iterdir() if folder.is_dir() else ():
            path.unlink()
    attack(params, layout)
    assert [sha256_file(path) for path in files] == first


class Killed(BaseException):
    pass


def test_a_killed_run_goes_on_where_it_was_and_ends_as_an_unbroken_one(tmp_path, params_of, monkeypatch):
    """Killed while the third of three parts of Square's images in L2 is attacked: what is done is not done again."""
    monkeypatch.setattr(recipe, "CPU_BATCH", 4)
    params, unbroken, broken = params_of(), write_project(tmp_path / "a"), write_project(tmp_path / "b")
    for layout in (unbroken, broken):
        write_students(layout, params, METHODS)
    expected, calls = attack(params, unbroken), []
    original = recipe._made

    def counted(*arguments: Any) -> torch.Tensor:
        setting = arguments[4]
        calls.append(setting.key)
        if calls == [*["clean"] * 3, *["fgsm/l2/0.5"] * 3, *["pgd/l2/0.5"] * 3, *["square/l2/0.5"] * 3]:
            raise Killed
        return original(*arguments)

    monkeypatch.setattr(recipe, "_made", counted)
    with pytest.raises(Killed):
        attack(params, broken)
    assert not broken.attack_figures(0, "roskd").exists()
    before = len(calls)
    found = attack(params, broken)
    assert calls[before:] == [
        "square/l2/0.5", *["transfer/l2/0.5"] * 3,
        *[f"{name}/linf/2" for name in ("fgsm", "pgd", "square", "transfer") for _ in range(3)],
    ]  # fmt: skip
    assert {one.key: logits.tolist() for one, logits in found.logits.items()} == {
        one.key: logits.tolist() for one, logits in expected.logits.items()
    }
    assert list((broken.store / "attacks").rglob("part-*")) == []
    attack(params_of(attacks={"l2": [0.5, 1.0]}), broken)
    assert set(calls[before + 16 :]) == {f"{name}/l2/1" for name in ("fgsm", "pgd", "square", "transfer")}


def test_without_baseline_1_nothing_is_transferred(tmp_path, params_of):
    params, layout = params_of(["baseline_3", "roskd"]), write_project(tmp_path)
    write_students(layout, params, ["baseline_3", "roskd"])
    assert {one.attack for one in attack(params, layout).logits} == {"", "fgsm", "pgd", "square"}
    assert "transfer_not_stronger" not in set(read_csv(layout.attack_checks(0, "roskd"))["check"])


def test_a_head_is_attacked_through_its_frozen_backbone(tmp_path, params_of):
    weights = str(made_weights(tmp_path / "test_resnet.safetensors"))
    head = {"architecture": "timm:test_resnet", "weights": weights, "train": "head", "width": 1.0}
    params, layout = params_of(student=head), write_project(tmp_path)
    write_students(layout, params, METHODS)
    found = attack(params, layout)
    _, images, targets = images_of(layout, found)
    network = trained_student(params, layout, 0, "roskd", 3)
    with torch.no_grad():
        np.testing.assert_allclose(found.logits[CLEAN], network(images), rtol=1e-4, atol=1e-4)
        losses = [
            float(torch.nn.functional.cross_entropy(torch.from_numpy(found.logits[one]), targets))
            for one in (CLEAN, Setting("pgd", "l2", 0.5))
        ]
    assert losses[1] > losses[0] + 0.01


def test_a_method_that_is_not_trained_leaves_empty_tables(tmp_path, params_of, capsys):
    params, layout = params_of(["baseline_1", "roskd"]), write_project(tmp_path)
    robustness.run(params, layout, 0, "baseline_3")
    assert "baseline_3 is not among methods" in capsys.readouterr().out
    assert len(read_csv(layout.attack_figures(0, "baseline_3"))) == 0
    assert len(read_csv(layout.attack_checks(0, "baseline_3"))) == 0


def test_logits_that_are_not_finite_are_reported_with_the_remedy(tmp_path, params_of):
    params, layout = params_of(), write_project(tmp_path)
    write_students(layout, params, METHODS)
    student, path = trained_student(params, layout, 0, "roskd", 3), weights_of(layout, 0, "roskd")
    load_weights(student, path)
    save_weights(student.state_dict() | {"head.bias": torch.full((3,), torch.nan)}, path)
    with pytest.raises(UserError, match=r"12 of 12 images.*not finite.*leave it out of robustness\.methods"):
        attack(params, layout)


def test_one_finding_is_called_where_it_is_absent_and_hidden_where_it_is_present(tmp_path, params_of):
    """Redone by hand, image by image; means over seeds follow."""
    params, layout = params_of(task="multilabel", seeds=[0, 1], attacks={"findings": ["B"]}), write_project(
        tmp_path, "multilabel"
    )  # fmt: skip
    write_students(layout, params, METHODS, seeds=(0, 1))
    tables = []
    for seed in (0, 1):
        found = attack(params, layout, seed=seed)
        rows, images, targets = images_of(layout, found)
        assert found.thresholds is not None
        cuts = torch.from_numpy(cuts_of(found.thresholds))
        network = trained_student(params, layout, seed, "roskd", 3).requires_grad_(False)
        expected = []
        for on in (True, False):
            few = torch.nonzero(targets[:, 1] == (not on)).flatten()
            goal = Goal("multilabel", targets[few], cuts, finding=1, on=on)
            for norm, eps, budget in (("", 0.0, 0.0), ("l2", 0.5, 0.5), ("linf", 2.0, 2 / 255)):
                made = images[few]
                if norm:
                    made = pgd(
                        network, made, goal, norm, budget, steps=3, restarts=2,
                        draws=lambda restart, own=rows[few]: [stream(3, f"pgd {restart}", int(row)) for row in own],
                    )  # type: ignore[arg-type]  # fmt: skip
                share = goal.turned(network(made)).float().mean().item()
                expected.append(("B", "present" if on else "absent", norm, eps, len(few), pytest.approx(share)))
        table = pd.read_csv(layout.switched(seed, "roskd"), keep_default_na=False)
        assert list(table.itertuples(index=False, name=None)) == expected
        assert len({row[-1].expected for row in expected}) > 2
        attack(params, layout, "baseline_3", seed)
        tables.append(table)
    robustness_compare.run(params, layout)
    merged = pd.read_csv(layout.robust_switches, keep_default_na=False)
    assert list(merged) == ["method", "finding", "wanted", "norm", "eps", "n_images", "switched", "sd"]
    own = merged.loc[merged["method"] == "roskd"]
    shares = np.stack([table["switched"] for table in tables])
    np.testing.assert_allclose(own["switched"], shares.mean(axis=0))
    np.testing.assert_allclose(own["sd"].astype(float), shares.std(axis=0, ddof=1))


def test_a_finding_that_all_images_have_is_only_hidden(tmp_path, params_of):
    layout = write_project(tmp_path, "multilabel")
    samples = read_csv(layout.samples)
    samples["label"] = [cell if "A" in cell else "|".join(filter(None, ["A", cell])) for cell in samples["label"]]
    samples.to_csv(layout.samples, index=False)
    write_hashes(layout)
    params = params_of(task="multilabel", attacks={"findings": ["A"], "l2": []})
    write_students(layout, params, METHODS)
    attack(params, layout)
    table = pd.read_csv(layout.switched(0, "roskd"), keep_default_na=False)
    assert table[["wanted", "norm", "n_images"]].to_numpy().tolist() == [["absent", "", 12], ["absent", "linf", 12]]


def test_a_finding_that_the_data_do_not_have_is_named(tmp_path, params_of):
    params, layout = params_of(task="multilabel", attacks={"findings": ["Effusion"]}), write_project(
        tmp_path, "multilabel"
    )  # fmt: skip
    write_students(layout, params, METHODS)
    with pytest.raises(UserError, match=r"attacks\.findings names 'Effusion', which the data do not have.*A, B, C"):
        attack(params, layout)


def test_methods_are_compared_on_the_same_images_by_budget(tmp_path, params_of):
    """SUBJECT minus the other; budgets of an attack and norm are one family; a method not trained is left out."""
    attacks = {"l2": [0.25, 0.5], "linf": []}
    params, layout = params_of(attacks=attacks, seeds=[0, 1]), write_project(tmp_path)
    write_students(layout, params, METHODS, seeds=(0, 1))
    params = params_of(attacks=attacks, seeds=[0, 1], robustness=params.robustness.model_dump(mode="json") | {
        "methods": ["roskd", "baseline_3", "gce"],
    })  # fmt: skip
    answers = {
        (method, seed): attack(params, layout, method, seed) for method in ("roskd", "baseline_3") for seed in (0, 1)
    }
    robustness_compare.run(params, layout)
    figures = pd.read_csv(layout.robust_figures, keep_default_na=False)
    assert list(dict.fromkeys(figures["method"])) == ["baseline_3", "roskd"]
    row = figures.loc[
        (figures["method"] == "roskd") & (figures["attack"] == "pgd") & (figures["eps"] == 0.5)
        & (figures["metric"] == "f1_macro")
    ].iloc[0]  # fmt: skip
    setting = Setting("pgd", "l2", 0.5)
    by_seed = [answers["roskd", seed] for seed in (0, 1)]
    single = [
        robust_figures("multiclass", one.logits[setting], one.targets, CLASSES, None)["f1_macro"] for one in by_seed
    ]
    assert float(row["value"]) == pytest.approx(np.mean(single))
    assert float(row["sd"]) == pytest.approx(np.std(single, ddof=1))
    assert float(row["low"]) <= float(row["value"]) <= float(row["high"])
    assert (int(float(row["n_groups"])), int(float(row["n_seeds"]))) == (6, 2)
    compared = pd.read_csv(layout.robust_comparisons, keep_default_na=False)
    assert set(zip(compared["method_a"], compared["method_b"], strict=True)) == {("roskd", "baseline_3")}
    assert list(dict.fromkeys(zip(compared["attack"], compared["eps"], strict=True))) == [
        ("", 0.0), ("fgsm", 0.25), ("fgsm", 0.5), ("pgd", 0.25), ("pgd", 0.5),
    ]  # fmt: skip
    means = figures.set_index(["method", "attack", "eps", "metric"])["value"].astype(float)
    for one in compared.to_dict("records"):
        key = (one["attack"], one["eps"], one["metric"])
        assert one["difference"] == pytest.approx(means["roskd", *key] - means["baseline_3", *key])
        assert one["p_holm"] >= one["p_value"]
    checks = read_csv(layout.trust_checks)
    assert list(checks) == ["seed", "method", "check", "norm", "eps", "value", "limit", "passed"]
    assert {*zip(checks["seed"], checks["method"], strict=True)} == {
        (seed, method) for seed in ("0", "1") for method in ("roskd", "baseline_3")
    }


def test_where_no_student_was_attacked_the_tables_are_empty(tmp_path, params_of):
    params, layout = params_of(["baseline_1", "baseline_2"]), write_project(tmp_path)
    robustness_compare.run(params, layout)
    for path in (layout.robust_figures, layout.robust_comparisons, layout.trust_checks, layout.robust_switches):
        assert len(read_csv(path)) == 0
