"""Resamples of the test split: closed forms, and scikit-learn on repeated samples."""

import numpy as np
import pytest
from sklearn import metrics as sk

from pipeline.evaluation import bootstrap, metrics
from pipeline.evaluation.bootstrap import draw, draw_kinds, draw_seeds, resample


def data(n: int = 300, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits, targets and groups of one to several images, with ties among the scores."""
    rng = np.random.default_rng(seed)
    targets = rng.choice(3, size=n, p=(0.2, 0.5, 0.3))
    logits = np.round(rng.normal(size=(n, 3)) + np.eye(3)[targets], 1)
    return logits, targets, rng.integers(n // 2, size=n)


def test_the_first_row_is_the_test_split_itself() -> None:
    logits, targets, groups = data()
    draws = draw(groups, 1, np.random.default_rng(0), resamples=3)
    names = (*bootstrap.METRICS, "accuracy")
    values = resample("multiclass", [logits], targets, draws, metrics=names)
    table = metrics.evaluate("multiclass", logits, targets, ("a", "b", "c"))
    overall = table[table["class"] == ""].set_index("metric")["value"]
    for name in names:
        assert values[name].shape == (4, 1)
        assert values[name][0, 0] == pytest.approx(overall[name], abs=1e-12), name


def test_a_resample_equals_scikit_learn_on_repeated_samples() -> None:
    logits, targets, groups = data()
    draws = draw(groups, 1, np.random.default_rng(1), resamples=4)
    values = resample("multiclass", [logits], targets, draws, metrics=(*bootstrap.METRICS, "accuracy"))
    scores = metrics.probabilities("multiclass", logits)
    for r in range(1, 5):
        rows = np.repeat(np.arange(len(targets)), draws.counts[draws.group_of, r])
        y, z = targets[rows], scores[rows]
        predicted = z.argmax(axis=1)
        p, recall, f1, _ = sk.precision_recall_fscore_support(y, predicted, average="macro")
        expected = (p, recall, f1, sk.roc_auc_score(y, z, multi_class="ovr"), sk.accuracy_score(y, predicted))
        assert [float(v[r, 0]) for v in values.values()] == pytest.approx(list(map(float, expected)))


def test_multilabel_uses_each_seeds_thresholds() -> None:
    rng = np.random.default_rng(0)
    targets = (rng.random((200, 2)) < 0.3).astype(np.float32)
    runs = [rng.normal(size=(200, 2)) + targets for _ in range(2)]
    thresholds = [np.array([0.6, 0.7]), np.array([0.4, 0.5])]
    draws = draw(np.arange(200), 2, rng, resamples=1)
    values = resample("multilabel", runs, targets, draws, metrics=["f1_macro"], thresholds=thresholds)["f1_macro"]
    by_hand = [
        sk.f1_score(targets, metrics.probabilities("multilabel", z) >= cut, average="macro")
        for z, cut in zip(runs, thresholds, strict=True)
    ]
    assert values[0] == pytest.approx(by_hand)


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, targets, groups = data()
    draws = draw(groups, 1, np.random.default_rng(0), resamples=20)
    whole = resample("multiclass", [logits], targets, draws)
    monkeypatch.setattr(bootstrap, "CELLS", 7 * 300)
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


def test_same_generator_same_draws() -> None:
    groups = data()[2]
    first, second = (draw(groups, 1, np.random.default_rng(3), resamples=5) for _ in range(2))
    np.testing.assert_array_equal(first.counts, second.counts)
    assert not (first.counts[:, 1] == draw(groups, 1, np.random.default_rng(4), resamples=5).counts[:, 1]).all()


def test_drawn_seeds_are_as_many_as_there_are_and_the_groups_stay_as_drawn() -> None:
    fixed = draw(np.arange(9), 5, np.random.default_rng(0), resamples=200)
    both = draw_seeds(fixed, np.random.default_rng(1))
    assert (fixed.seed_shares == 0.2).all()
    assert both.counts is fixed.counts
    assert (both.seed_shares[0] == 0.2).all()
    times = both.seed_shares[1:] * 5
    np.testing.assert_allclose(times, np.round(times))
    np.testing.assert_allclose(both.seed_shares.sum(axis=1), 1)
    # a seed is missing from (4/5)^5 = 33 % of the resamples
    assert (times == 0).mean() == pytest.approx(0.328, abs=0.05)
    assert both.over_seeds(np.tile([1.0, 2, 3, 4, 5], (201, 1)))[0] == pytest.approx(3)


def test_seeds_are_drawn_from_five_on() -> None:
    kinds = {n: [d.resampled for d in draw_kinds(np.arange(4), n, np.random.default_rng(0))] for n in (1, 4, 5)}
    assert kinds == {1: ["groups"], 4: ["groups"], 5: ["groups", "groups+seeds"]}
    with pytest.raises(ValueError, match="at least 5 are needed, there are 4"):
        draw_seeds(draw(np.arange(4), 4, np.random.default_rng(0)), np.random.default_rng(0))


def test_draws_of_groups_do_not_depend_on_the_seeds() -> None:
    one, five = (draw_kinds(np.arange(20), n, np.random.default_rng(0), resamples=9)[0] for n in (1, 5))
    np.testing.assert_array_equal(one.counts, five.counts)
