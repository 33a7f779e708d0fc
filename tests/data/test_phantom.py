"""The drawn data set: same bytes for a seed, promised shares, no colour that gives a class away, visible signs."""

import hashlib
from collections import Counter, defaultdict

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pipeline.data import phantom

TASKS = ("multiclass", "multilabel")


def batch(task, count, seed, image_size=32, order=None):
    """Images (count, S, S, channels) of the first `count` samples, drawn in `order`, returned in index order."""
    names, groups = phantom.labels(task, count, seed)
    drawn = {i: phantom.render(task, i, names[i], groups[i], image_size, seed) for i in (order or range(count))}
    return np.stack([drawn[i] for i in range(count)])


def sha256(images):
    return hashlib.sha256(images.tobytes()).hexdigest()


def films(label, image_size=64, count=12):
    """One film of each of `count` patients, all with the same findings, (count, S, S) in 0-255 as float."""
    images = [phantom.render("multilabel", i, label, f"patient-{i:05d}", image_size, 5) for i in range(count)]
    return np.stack(images)[..., 0].astype(float)


@pytest.mark.parametrize("task", TASKS)
def test_same_seed_gives_same_bytes_in_any_order(task):
    first = sha256(batch(task, 12, seed=3))
    assert sha256(batch(task, 12, seed=3, order=[7, 2, 11, 0, 9, 4, 1, 10, 3, 8, 6, 5])) == first
    assert sha256(batch(task, 12, seed=4)) != first
    assert phantom.labels(task, 50, 3) == phantom.labels(task, 50, 3)
    assert phantom.labels(task, 50, 3) != phantom.labels(task, 50, 4)


@pytest.mark.parametrize(("task", "channels"), [("multiclass", 3), ("multilabel", 1)])
@pytest.mark.parametrize("image_size", [32, 48, 64, 100, 128, 256])
def test_shape_type_and_range(task, channels, image_size):
    image = batch(task, 1, seed=0, image_size=image_size)[0]
    assert image.shape == (image_size, image_size, channels)
    assert image.dtype == np.uint8
    assert image.std() > 8  # grey levels: something is drawn


@pytest.mark.parametrize("task", TASKS)
def test_image_size_changes_resolution_not_scene(task):
    small, large = batch(task, 6, seed=1, image_size=32), batch(task, 6, seed=1, image_size=128)
    pooled = large.reshape(6, 32, 4, 32, 4, -1).mean(axis=(2, 4))
    for a, b in zip(small, pooled, strict=True):
        assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.9
        assert abs(a.mean() - b.mean()) < 2


@pytest.mark.parametrize(
    ("task", "label", "image_size", "message"),
    [
        ("multitask", ("MEL",), 32, "unknown task 'multitask'"),
        ("multiclass", ("Mass",), 32, "does not fit task multiclass"),
        ("multiclass", (), 32, "does not fit task multiclass"),
        ("multiclass", ("MEL", "NV"), 32, "does not fit task multiclass"),
        ("multilabel", ("MEL",), 32, "does not fit task multilabel"),
        ("multilabel", (), 4, "image_size is 4"),
    ],
)
def test_wrong_arguments_are_named(task, label, image_size, message):
    with pytest.raises(ValueError, match=message):
        phantom.render(task, 0, label, "group", image_size, 0)


@pytest.mark.parametrize("count", [0, 1, 7])
@pytest.mark.parametrize("task", TASKS)
def test_small_counts(task, count):
    names, groups = phantom.labels(task, count, seed=0)
    assert len(names) == len(groups) == count


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_lesion_shares_and_groups(seed):
    names, groups = phantom.labels("multiclass", 1600, seed)
    assert all(len(name) == 1 for name in names)
    shares = {name: n / 1600 for (name,), n in Counter(names).items()}
    assert set(shares) == set(phantom.CLASSES["multiclass"])
    for name, promised in zip(phantom.LESIONS, phantom.LESION_SHARES, strict=True):
        assert shares[name] == pytest.approx(promised, abs=0.025)
    assert set(Counter(groups).values()) == {1, 2, 3}
    by_group = defaultdict(set)
    for name, group in zip(names, groups, strict=True):
        by_group[group].add(name)
    assert all(len(of_group) == 1 for of_group in by_group.values())


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_finding_shares_and_groups(seed):
    names, groups = phantom.labels("multilabel", 1600, seed)
    assert 0.34 < sum(not found for found in names) / 1600 < 0.46
    for finding in phantom.CLASSES["multilabel"]:
        assert 0.06 <= sum(finding in found for found in names) / 1600 <= 0.20
    assert set(Counter(groups).values()) == {1, 2, 3, 4}
    pairs = [set(a) ^ set(b) for a, b, g, h in zip(names, names[1:], groups, groups[1:], strict=False) if g == h]
    assert 0.05 < np.mean([bool(differ) for differ in pairs]) < 0.4  # mostly, not always, the same findings


@pytest.mark.parametrize("task", TASKS)
def test_photographs_of_a_group_resemble_each_other_but_are_not_copies(task):
    label = (phantom.CLASSES[task][0],)
    one, two = (phantom.render(task, i, label, "group", 32, 0).astype(float) for i in (0, 1))
    assert np.abs(one - two).mean() > 3  # grey levels


@pytest.fixture(scope="module")
def colours():
    """Mean and standard deviation per channel of 600 lesions, (600, 6), their classes, and a split by group."""
    names, groups = phantom.labels("multiclass", 600, seed=2)
    images = batch("multiclass", 600, seed=2) / 255
    statistics = np.concatenate([images.mean(axis=(1, 2)), images.std(axis=(1, 2))], axis=1)
    train = np.array([int(group.split("-")[1]) % 3 > 0 for group in groups])
    return statistics, np.array([name for (name,) in names]), train


@pytest.mark.parametrize(
    "classifier",
    [
        make_pipeline(StandardScaler(), LogisticRegression(C=10, max_iter=500)),
        RandomForestClassifier(100, random_state=0),
    ],
    ids=["logistic", "forest"],
)
def test_no_colour_statistic_separates_the_lesions(colours, classifier):
    statistics, targets, train = colours
    accuracy = classifier.fit(statistics[train], targets[train]).score(statistics[~train], targets[~train])
    assert accuracy < 0.45


def test_dermatofibroma_has_a_bright_centre_and_a_naevus_a_dark_one():
    def centre_minus_ring(name, inner, outer):
        images = [phantom.render("multiclass", i, (name,), f"lesion-{i:05d}", 64, 0) for i in range(40)]
        mean = np.mean(images, axis=(0, 3))  # (64, 64); poses average out
        radius = np.hypot(*(np.mgrid[:64, :64] - 31.5)) / 64
        return mean[radius < 0.06].mean() - mean[(radius > inner) & (radius < outer)].mean()

    assert centre_minus_ring("DF", 0.16, 0.22) > 10  # against its own pigmented ring
    assert centre_minus_ring("NV", 0.4, 0.46) < -10  # against the skin around it


def test_cardiothoracic_ratio():
    def ratios(label):
        found = []
        for film in films(label, image_size=128):
            rows = film[72:84].mean(axis=0)  # above the diaphragm, through the heart's widest part
            dark = np.flatnonzero(rows < (rows.min() + rows.max()) / 2)
            dark = dark[(dark > 12) & (dark < 116)]  # inside the ribcage
            left, right = dark[dark < 58].max(), dark[dark > 70].min()
            found.append((right - left) / (dark.max() - dark.min()))
        return np.array(found)

    normal, enlarged = ratios(()), ratios(("Cardiomegaly",))
    assert normal.mean() < 0.5 < enlarged.mean()
    assert np.all(enlarged > normal)


def test_findings_change_the_film_where_their_signs_stand():
    def change(name):
        return films((name,)) - films(())

    share = {name: (np.abs(change(name)) > 20).mean() for name in ("Nodule", "Mass", "Pneumonia")}
    assert 0.001 < share["Nodule"] < share["Mass"] < share["Pneumonia"] < 0.25
    effusion = np.clip(change("Effusion"), 0, None)
    assert effusion[:, 32:].sum() > 0.95 * effusion.sum()  # fluid gathers in the lower half
    air = np.clip(-change("Pneumothorax"), 0, None)  # (12, 64, 64)
    left, right = air[:, :, :32].sum(axis=(1, 2)), air[:, :, 32:].sum(axis=(1, 2))
    assert np.all(np.maximum(left, right) > 20 * np.minimum(left, right))  # one side only
    below_apex = air[:, 28:]
    assert below_apex[:, :, 16:48].sum() < 0.1 * below_apex.sum()  # peripheral
