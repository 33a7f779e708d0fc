"""Stage evaluate: what it reads and writes for which methods, and in which families comparisons are corrected."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.common.errors import UserError
from pipeline.common.layout import CHECKPOINTS, Checkpoint, Layout, Pool
from pipeline.data.prepared import load_prepared
from pipeline.evaluation.comparisons import COMPARISON_COLUMNS, holm
from pipeline.evaluation.corrections import EFFECT_COLUMNS
from pipeline.evaluation.memorisation import TRAINING_COLUMNS, agreement
from pipeline.evaluation.metrics import evaluate as figures
from pipeline.evaluation.predictions import RESAMPLED, TEACHER_COLUMNS, Logits, write_logits
from pipeline.evaluation.tuning import tune_biases
from pipeline.params.tree import Params
from pipeline.stages import evaluate
from pipeline.training.history import History
from tests.data.made_files import write_prepared, write_split

N, TRAIN = 120, 20
RUNS: dict[str, Pool | None] = {
    "baseline_1": None, "baseline_2": "full", "baseline_3": "full", "baseline_3_same": "subset",
    "baseline_4": "subset", "baseline_5": "subset", "roskd_unseen": "subset",
}  # fmt: skip
"""The training runs behind params.yaml's methods, and the pool of their teachers."""
INGREDIENTS = {("baseline_3_same", "baseline_3"), ("baseline_5", "baseline_3_same")}


@pytest.fixture
def layout(tmp_path) -> Layout:
    """Two classes, half of the samples test, two samples a group; the labels of validation are noisy."""
    layout = Layout(tmp_path / "artifacts")
    labels = np.array(["A", "B"])[np.random.default_rng(0).integers(2, size=N)]
    write_prepared(layout, ("A", "B"), labels.tolist(), groups=[f"g{i // 2}" for i in range(N)])
    write_split(layout, np.repeat(["train", "val", "test"], [TRAIN, N // 2 - TRAIN, N // 2]))
    given = np.where(np.arange(N) % 3 == 0, "A", labels)
    table = {"sample_id": [f"s{i}" for i in range(N)], "given": given, "flipped": (given != labels).astype(int)}
    pd.DataFrame(table).to_csv(layout.labels, index=False)
    ids = [f"s{i}" for i in range(TRAIN)]
    members = {"sample_id": ids, "resnet18": [1, 0] * (TRAIN // 2), "densenet121": [0, 1] * (TRAIN // 2)}
    pd.DataFrame(members).to_csv(layout.subsets, index=False)
    layout.noise.write_text('{"corrected": 0}')
    return layout


def answered(layout: Layout, rng: np.random.Generator, strength: float) -> Logits:
    published = load_prepared(layout, "multiclass").published
    logits = (rng.normal(size=(N, 2)) + strength * np.eye(2)[published]).astype(np.float32)
    return {"train": logits[:TRAIN], "val": logits[TRAIN : N // 2], "test": logits[N // 2 :]}


def train(layout: Layout, seeds: Sequence[int], runs: Sequence[str], teachers: Mapping[Pool, Sequence[str]]) -> dict:
    """Leave what the trainings would, later runs being better; return the answers by seed and run."""
    rng, found = np.random.default_rng(1), {}
    for seed in seeds:
        for place, run in enumerate(runs):
            answers: dict[Checkpoint, Logits] = {
                checkpoint: answered(layout, rng, (3 * place + number) / 20)
                for number, checkpoint in enumerate(CHECKPOINTS)
            }
            write_logits(layout.student_predictions(seed, RUNS[run], run), answers)
            history = History()
            for epoch in (1, 2):
                history.add(epoch, "train", {"loss": 1.0 / epoch, "steps": 5.0 * epoch})
                history.add(epoch, "val", {"f1_macro": 0.1 * epoch + 0.01 * seed, "loss": 1.0})
            history.write(layout.student_history(seed, RUNS[run], run))
            found[seed, run] = answers
        for pool, names in teachers.items():
            for name in names:
                found[seed, pool, name] = {
                    "last": answered(layout, rng, 1.0), "selected": answered(layout, rng, 1.0),
                }  # fmt: skip
                write_logits(layout.teacher_predictions(seed, pool, name), found[seed, pool, name])
                history = History()
                history.add(1, "train", {"loss": 2.0, "steps": 3.0})
                history.write(layout.teacher_history(seed, pool, name))
    return found


@pytest.fixture
def params(make_params) -> Params:
    """Every method, with two teachers."""
    return make_params(teachers={"architectures": ["resnet18", "densenet121"]})


BOTH: dict[Pool, list[str]] = {"full": ["resnet18", "densenet121"], "subset": ["resnet18", "densenet121"]}


@pytest.mark.parametrize(
    ("seeds", "kinds"), [([0, 1], ["groups"]), ([0, 1, 2, 3, 4], ["groups", "groups+seeds"])], ids=["two", "five"]
)
def test_families_of_comparisons(layout, params, seeds, kinds):
    train(layout, seeds, list(RUNS), BOTH)
    evaluate.run(params.model_copy(update={"seeds": tuple(seeds)}), layout)
    table = pd.read_csv(layout.comparisons)
    assert tuple(table.columns) == COMPARISON_COLUMNS
    assert list(table["resampled"].unique()) == kinds
    assert set(table["n_seeds"]) == {len(seeds)}
    assert set(table["n_groups"]) == {N // 4}
    families = table.groupby(["resampled", "metric", table["method_a"] == "roskd"])
    assert len(families) == len(kinds) * len(RESAMPLED["multiclass"]) * 2
    for (_, _, is_roskd), rows in families:
        pairs = set(zip(rows["method_a"], rows["method_b"], strict=True))
        assert pairs == ({("roskd", name) for name in RUNS} if is_roskd else INGREDIENTS)
        np.testing.assert_allclose(rows["p_holm"], holm(rows["p_value"].to_numpy()))
    assert (table["p_holm"] > table["p_value"]).any()
    by_kind = [rows["difference"].to_numpy() for _, rows in table.groupby("resampled")]
    assert all(len(differences) == len(by_kind[0]) for differences in by_kind)
    np.testing.assert_array_equal(by_kind[0], by_kind[-1])
    intervals = pd.read_csv(layout.intervals)
    assert len(intervals) == (3 * len(RUNS) + 1) * len(RESAMPLED["multiclass"])
    assert intervals["sd"].notna().all()


def test_every_network_is_measured_on_both_splits_and_its_predictions_are_kept(layout, params):
    answers = train(layout, [0, 1], list(RUNS), BOTH)
    evaluate.run(params.model_copy(update={"seeds": (0, 1)}), layout)
    prepared = load_prepared(layout, "multiclass")
    students = pd.read_csv(layout.student_metrics, keep_default_na=False)
    measured = students.groupby(["seed", "method", "checkpoint"]).ngroups
    assert measured == 2 * (3 * len(RUNS) + 1)
    for method, run, checkpoint in (("roskd", "baseline_5", "smoothed"), ("baseline_2", "baseline_2", "selected")):
        logits = answers[1, run][checkpoint]
        kept = np.load(layout.predictions(1, method, checkpoint))
        for split in ("val", "test"):
            biases = tune_biases(logits["val"], prepared.targets("val"))
            expected = figures("multiclass", logits[split], prepared.targets(split), ("A", "B"), biases=biases)
            rows = students.query("seed == 1 and method == @method and checkpoint == @checkpoint and split == @split")
            assert rows["value"].astype(float).tolist() == pytest.approx(expected["value"].tolist())
            np.testing.assert_array_equal(kept[f"{split}_logits"], logits[split])
            np.testing.assert_array_equal(kept[f"{split}_targets"], prepared.targets(split))
            assert kept[f"{split}_sample_ids"].tolist() == prepared.sample_ids[prepared.rows(split)].tolist()
    assert not layout.predictions(1, "roskd", "last").exists()  # that is baseline_5's
    teachers = pd.read_csv(layout.teacher_metrics)
    assert set(zip(teachers["seed"], teachers["pool"], teachers["architecture"], strict=True)) == {
        (seed, pool, name) for seed in (0, 1) for pool in BOTH for name in BOTH[pool]
    }
    assert set(teachers["split"]) == {"val", "test"}


def test_how_long_each_network_trained_and_which_labels_it_repeats(layout, params):
    answers = train(layout, [0, 1], list(RUNS), BOTH)
    evaluate.run(params.model_copy(update={"seeds": (0, 1)}), layout)
    table = pd.read_csv(layout.training_metrics, keep_default_na=False)
    assert tuple(table) == TRAINING_COLUMNS
    found = {
        key: dict(zip(rows["metric"], rows["value"].astype(float), strict=True))
        for key, rows in table.groupby(["seed", "pool", "network"])
    }
    assert set(found) == {
        *((seed, "", name) for seed in (0, 1) for name in (*RUNS, "roskd")),
        *((seed, pool, name) for seed in (0, 1) for pool in BOTH for name in BOTH[pool]),
    }
    prepared = load_prepared(layout, "multiclass")
    given, published = prepared.given[:TRAIN], prepared.published[:TRAIN]
    labels = (given, published, given != published)
    plain = found[1, "", "baseline_5"]
    assert [plain[name] for name in ("steps", "loss", "fall")] == [10.0, 0.5, 1.0]
    student = found[1, "", "roskd"]
    assert "steps" not in student  # its training is baseline_5's
    assert student == pytest.approx(agreement("multiclass", answers[1, "baseline_5"]["smoothed"]["train"], *labels))
    teacher = found[0, "subset", "densenet121"]
    assert [teacher.pop(name) for name in ("steps", "loss", "fall")] == [3.0, 2.0, 0.0]
    logits, seen = answers[0, "subset", "densenet121"]["last"]["train"], np.arange(TRAIN) % 2 == 1
    assert teacher == pytest.approx(agreement("multiclass", logits, *labels, seen))
    assert {"changed_seen", "changed_unseen"} <= set(teacher)
    assert "changed_seen" not in found[0, "full", "densenet121"]


def test_what_dvc_shows_are_the_reported_checkpoints_and_the_mean_validation_curves(layout, params):
    train(layout, [0, 1], list(RUNS), BOTH)
    evaluate.run(params.model_copy(update={"seeds": (0, 1)}), layout)
    summary = json.loads(layout.summary.read_text())["test"]
    intervals = pd.read_csv(layout.intervals).set_index(["method", "checkpoint", "metric"])["value"]
    assert list(summary) == [*RUNS, "roskd"]
    for name, shown in summary.items():
        checkpoint = "smoothed" if name == "roskd" else "last"
        assert shown == {
            metric: round(intervals[name, checkpoint, metric], 4) for metric in ("f1_macro", "auroc_macro")
        }
    methods = pd.read_csv(layout.method_figures).set_index("method")
    assert methods.to_dict("index") == summary
    curves = pd.read_csv(layout.curves)
    assert list(curves) == ["epoch", *RUNS]
    assert curves["baseline_4"].tolist() == pytest.approx([0.105, 0.205])  # the mean of seeds 0 and 1


@pytest.mark.parametrize(
    ("methods", "runs", "teachers", "measured"),
    [
        (["roskd"], ["baseline_5"], {"subset": BOTH["subset"]}, [("roskd", "smoothed")]),
        (["baseline_2"], ["baseline_2"], {"full": ["densenet121"]}, [("baseline_2", one) for one in CHECKPOINTS]),
        (["baseline_1"], ["baseline_1"], {}, [("baseline_1", one) for one in CHECKPOINTS]),
    ],
)
def test_only_what_the_methods_need_is_read(layout, params, methods, runs, teachers, measured):
    train(layout, [0], runs, teachers)
    evaluate.run(params.model_copy(update={"methods": tuple(methods)}), layout)
    students = pd.read_csv(layout.student_metrics)
    assert list(students.groupby(["method", "checkpoint"], sort=False).groups) == measured
    found = pd.read_csv(layout.teacher_metrics)
    assert list(found) == list(TEACHER_COLUMNS)
    assert set(zip(found["pool"], found["architecture"], strict=True)) == {
        (pool, name) for pool, names in teachers.items() for name in names
    }
    assert pd.read_csv(layout.comparisons).to_dict("list") == {name: [] for name in COMPARISON_COLUMNS}
    assert pd.read_csv(layout.intervals)["sd"].isna().all()  # of a single seed
    assert list(json.loads(layout.summary.read_text())["test"]) == methods


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


@pytest.mark.parametrize("harm", [Path.unlink, damage])
def test_predictions_that_are_missing_or_damaged_are_named(layout, params, harm):
    train(layout, [0], ["baseline_5"], {"subset": BOTH["subset"]})
    harm(layout.student_predictions(0, "subset", "baseline_5"))
    with pytest.raises(UserError, match=r"subset/baseline_5/predictions\.npz: cannot be read .*Run make repro again"):
        evaluate.run(params.model_copy(update={"methods": ("roskd",)}), layout)


def correct(layout: Layout, samples: int) -> None:
    """The first wrong labels of validation become the published ones."""
    table, published = pd.read_csv(layout.labels), load_prepared(layout, "multiclass").published
    wrong = [row for row in range(TRAIN, N // 2) if table.loc[row, "given"] != "AB"[published[row]]]
    for row in wrong[:samples]:
        table.loc[row, "given"] = "AB"[published[row]]
    table.to_csv(layout.labels, index=False)
    layout.noise.write_text(json.dumps({"corrected": samples}))


def test_what_corrections_did_is_measured_against_the_run_with_the_fewest(layout, params):
    params = params.model_copy(update={"methods": ("baseline_1", "roskd")})
    runs = ["baseline_1", "baseline_5"]
    before = train(layout, [0], runs, {"subset": BOTH["subset"]})
    evaluate.run(params, layout)
    assert list(pd.read_csv(layout.corrections)) == list(EFFECT_COLUMNS)
    assert len(pd.read_csv(layout.corrections)) == 0
    for more, differ in ((3, 3), (2, 5)):
        correct(layout, more)
        evaluate.run(params, layout)
        assert set(pd.read_csv(layout.corrections)["labels"]) == {differ}
    for run in runs:
        better = {
            checkpoint: {split: 3 * values for split, values in logits.items()}
            for checkpoint, logits in before[0, run].items()
        }
        better["smoothed"]["test"] = np.eye(2)[load_prepared(layout, "multiclass").published[N // 2 :]]
        write_logits(layout.student_predictions(0, RUNS[run], run), better)
    evaluate.run(params, layout)
    rows = pd.read_csv(layout.corrections).set_index(["method", "metric"])
    assert rows.loc[("baseline_1", "f1_macro"), "difference"] == 0
    now = rows.loc[("roskd", "f1_macro")]
    assert now["now"] == 1
    earlier = figures("multiclass", before[0, "baseline_5"]["smoothed"]["test"], load_prepared(
        layout, "multiclass").published[N // 2 :], ("A", "B"), None)  # fmt: skip
    of_f1 = earlier.loc[(earlier["metric"] == "f1_macro") & (earlier["class"] == ""), "value"]
    assert now["before"] == pytest.approx(float(of_f1.iloc[0]))
    assert now["low"] > 0


def test_another_experiment_is_no_yardstick_for_corrections(layout, params):
    params = params.model_copy(update={"methods": ("baseline_1",)})
    train(layout, [0], ["baseline_1"], {})
    evaluate.run(params, layout)
    correct(layout, 3)
    training = params.training.model_copy(update={"epochs": params.training.epochs + 1})
    evaluate.run(params.model_copy(update={"training": training}), layout)
    assert len(pd.read_csv(layout.corrections)) == 0
    evaluate.run(params, layout)
    assert len(pd.read_csv(layout.corrections)) == len(RESAMPLED["multiclass"])
