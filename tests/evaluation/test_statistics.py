"""The paired bootstrap: closed forms, scikit-learn on repeated samples, and a small coverage simulation."""

import numpy as np
import pytest
from sklearn import metrics as sk

from pipeline.evaluation import metrics, statistics
from pipeline.evaluation.statistics import bootstrap_interval, draw, paired_bootstrap, resample


def data(n: int = 300, signal: float = 1.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits, targets and groups of one to several images, with ties among the scores."""
    rng = np.random.default_rng(seed)
    targets = rng.choice(3, size=n, p=(0.2, 0.5, 0.3))
    logits = np.round(rng.normal(size=(n, 3)) + signal * np.eye(3)[targets], 1)
    return logits, targets, rng.integers(n // 2, size=n)


def test_the_first_column_is_the_test_split_itself() -> None:
    logits, targets, groups = data()
    draws = draw(groups, 1, np.random.default_rng(0), resamples=3)
    names = (*statistics.METRICS, "accuracy")
    values = resample("multiclass", [logits], targets, draws, metrics=names)
    table = metrics.evaluate("multiclass", logits, targets, ("a", "b", "c"))
    overall = table[table["class"] == ""].set_index("metric")["value"]
    for name in names:
        assert values[name][0] == pytest.approx(overall[name], abs=1e-12), name


def test_a_resample_equals_scikit_learn_on_repeated_samples() -> None:
    logits, targets, groups = data()
    draws = draw(groups, 1, np.random.default_rng(1), resamples=4)
    values = resample("multiclass", [logits], targets, draws, metrics=(*statistics.METRICS, "accuracy"))
    scores = metrics.probabilities("multiclass", logits)
    for r in range(1, 5):
        rows = np.repeat(np.arange(len(targets)), draws.counts[draws.group_of, r])
        y, z = targets[rows], scores[rows]
        predicted = z.argmax(axis=1)
        p, recall, f1, _ = sk.precision_recall_fscore_support(y, predicted, average="macro")
        expected = (p, recall, f1, sk.roc_auc_score(y, z, multi_class="ovr"), sk.accuracy_score(y, predicted))
        assert [float(v[r]) for v in values.values()] == pytest.approx(list(map(float, expected)))


def test_multilabel_uses_each_seeds_thresholds() -> None:
    rng = np.random.default_rng(0)
    targets = (rng.random((200, 2)) < 0.3).astype(np.float32)
    runs = [rng.normal(size=(200, 2)) + targets for _ in range(2)]
    thresholds = [np.array([0.6, 0.7]), np.array([0.4, 0.5])]
    draws = draw(np.arange(200), 2, rng, resamples=1)
    value = resample("multilabel", runs, targets, draws, metrics=["f1_macro"], thresholds=thresholds)["f1_macro"][0]
    by_hand = [
        sk.f1_score(targets, metrics.probabilities("multilabel", z) >= cut, average="macro")
        for z, cut in zip(runs, thresholds, strict=True)
    ]
    assert value == pytest.approx(np.mean(by_hand))


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, targets, groups = data()
    draws = draw(groups, 1, np.random.default_rng(0), resamples=20)
    whole = resample("multiclass", [logits], targets, draws)
    monkeypatch.setattr(statistics, "CELLS", 7 * 300)
    parts = resample("multiclass", [logits], targets, draws)
    for metric in whole:
        np.testing.assert_array_equal(whole[metric], parts[metric])


def test_groups_stay_together_and_their_number_is_kept() -> None:
    groups = np.array(["p7", "p2", "p7", "p9", "p2", "p7"])
    draws = draw(groups, 1, np.random.default_rng(0), resamples=50)
    assert draws.counts.shape == (3, 51)
    assert (draws.counts.sum(axis=0) == 3).all()
    assert (draws.counts[:, 0] == 1).all()
    weights = draws.counts[draws.group_of]
    assert (weights[0] == weights[2]).all()
    assert (weights[0] == weights[5]).all()
    assert (weights[1] == weights[4]).all()


def test_identical_methods_do_not_differ() -> None:
    logits, targets, groups = data()
    draws = draw(groups, 1, np.random.default_rng(0), resamples=100)
    values = resample("multiclass", [logits], targets, draws)["f1_macro"]
    result = paired_bootstrap(values, values, draws)
    assert (result.difference, result.low, result.high, result.p_value) == (0, 0, 0, 1)
    assert (result.n_groups, result.n_seeds, result.resampled) == (len(np.unique(groups)), 1, "groups")


def test_the_comparison_is_antisymmetric_and_sees_a_plain_difference() -> None:
    good, targets, groups = data(signal=2.0)
    poor = data(signal=0.2, seed=1)[0]
    draws = draw(groups, 1, np.random.default_rng(0), resamples=199)
    a, b = (resample("multiclass", [z], targets, draws)["f1_macro"] for z in (good, poor))
    forward, backward = paired_bootstrap(a, b, draws), paired_bootstrap(b, a, draws)
    assert forward.low > 0
    assert forward.p_value == pytest.approx(2 / 200)
    assert backward.difference == -forward.difference
    assert (backward.low, backward.high) == pytest.approx((-forward.high, -forward.low))


def test_interval_of_an_accuracy_has_its_binomial_width() -> None:
    # 400 single-image groups, 75 % right: standard error sqrt(.75 * .25 / 400) = 0.02165
    targets = np.zeros(400, dtype=np.int64)
    logits = np.eye(2)[(np.arange(400) % 4 == 0).astype(int)]
    draws = draw(np.arange(400), 1, np.random.default_rng(0), resamples=4000)
    values = resample("multiclass", [logits], targets, draws, metrics=["accuracy"])["accuracy"]
    interval = bootstrap_interval(values, draws)
    assert interval.value == 0.75
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * 0.02165, rel=0.05)
    # one patient with all images leaves nothing to resample
    alone = draw(np.zeros(400), 1, np.random.default_rng(0), resamples=50)
    values = resample("multiclass", [logits], targets, alone, metrics=["accuracy"])["accuracy"]
    assert bootstrap_interval(values, alone) == statistics.Interval(0.75, 0.75, 0.75, 1, 1)


def test_images_of_a_patient_widen_the_interval() -> None:
    # the same 400 images, once independent and once as 100 patients whose 4 images are all right or all wrong
    targets = np.zeros(400, dtype=np.int64)
    logits = np.eye(2)[(np.arange(400) // 4 % 4 == 0).astype(int)]
    widths = []
    for groups in (np.arange(400), np.arange(400) // 4):
        draws = draw(groups, 1, np.random.default_rng(0), resamples=2000)
        interval = bootstrap_interval(resample("multiclass", [logits], targets, draws)["recall_macro"], draws)
        widths.append(interval.high - interval.low)
    assert widths[1] / widths[0] == pytest.approx(2, rel=0.1)


def test_seeds_are_averaged_and_resampled_only_from_five_on() -> None:
    runs, targets, groups = [data(seed=s)[0] for s in range(5)], data()[1], data()[2]
    fixed = draw(groups, 5, np.random.default_rng(0), resamples=300)
    both = draw(groups, 5, np.random.default_rng(0), resamples=300, resample_seeds=True)
    singles = [
        resample("multiclass", [z], targets, draw(groups, 1, np.random.default_rng(0), resamples=1))["f1_macro"][0]
        for z in runs
    ]
    intervals = [
        bootstrap_interval(resample("multiclass", runs, targets, draws)["f1_macro"], draws) for draws in (fixed, both)
    ]
    assert [i.value for i in intervals] == pytest.approx([np.mean(singles)] * 2)
    assert [i.n_seeds for i in intervals] == [5, 5]
    assert intervals[1].high - intervals[1].low > intervals[0].high - intervals[0].low
    assert both.resampled == "groups+seeds"
    with pytest.raises(ValueError, match="at least 5 seeds, there are 3"):
        draw(groups, 3, np.random.default_rng(0), resample_seeds=True)


def test_a_class_missing_from_a_resample_is_left_out_of_its_mean() -> None:
    # class 1 has one patient of six, so about a third of the resamples miss it
    targets = np.array([0, 0, 0, 0, 0, 1])
    logits = np.eye(2)[targets]
    draws = draw(np.arange(6), 1, np.random.default_rng(0), resamples=60)
    missing = draws.counts[5] == 0
    values = resample("multiclass", [logits], targets, draws)
    assert 10 < missing.sum() < 35
    assert (values["f1_macro"] == 1).all()
    assert np.isnan(values["auroc_macro"][missing]).all()
    assert (values["auroc_macro"][~missing] == 1).all()
    assert bootstrap_interval(values["auroc_macro"], draws).low == 1


def test_an_undefined_metric_stays_undefined() -> None:
    draws = draw(np.arange(4), 1, np.random.default_rng(0), resamples=9)
    values = resample("multiclass", [np.eye(2)[[0, 0, 1, 0]]], np.zeros(4, dtype=np.int64), draws)["auroc_macro"]
    result = paired_bootstrap(values, values, draws)
    assert np.isnan([result.difference, result.low, result.high, result.p_value]).all()


def test_same_generator_same_draws() -> None:
    groups = data()[2]
    first, second = (draw(groups, 1, np.random.default_rng(3), resamples=5) for _ in range(2))
    np.testing.assert_array_equal(first.counts, second.counts)
    assert not (first.counts[:, 1] == draw(groups, 1, np.random.default_rng(4), resamples=5).counts[:, 1]).all()


def test_intervals_cover_the_true_difference() -> None:
    # two methods right on 80 % and 70 % of patients, three images each: the interval holds 0.1 in about 95 % of trials
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(100):
        right = np.repeat(rng.random((120, 2)) < (0.8, 0.7), 3, axis=0)
        targets = np.zeros(360, dtype=np.int64)
        draws = draw(np.arange(360) // 3, 1, rng, resamples=200)
        a, b = (
            resample("multiclass", [np.eye(2)[1 - right[:, m].astype(int)]], targets, draws, metrics=["accuracy"])
            for m in range(2)
        )
        result = paired_bootstrap(a["accuracy"], b["accuracy"], draws)
        covered += result.low <= 0.1 <= result.high
    assert 88 <= covered <= 100
