"""Feature-dependent noise: flip rates of the right mean, features by hand, flips that follow the image."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data import noise_instance
from pipeline.data.noise_instance import features, flip_rates, through_images


@settings(max_examples=60, deadline=None)
@given(st.floats(0, 1))
def test_flip_rates_have_the_nominal_mean_and_stay_in_the_unit_interval(rate):
    uniforms = (np.arange(20001) + 0.5) / 20001  # every quantile once: the mean over them is the distribution's
    rates = flip_rates(rate, uniforms)
    assert rates.min() >= max(0, 2 * rate - 1) - 1e-12
    assert rates.max() <= min(1, 2 * rate) + 1e-12
    assert rates.mean() == pytest.approx(rate, abs=1e-6)
    assert (np.diff(rates) >= 0).all()


def test_flip_rates_are_the_papers_normal_distribution_away_from_the_ends():
    rates = flip_rates(0.45, np.array([0.02275, 0.15866, 0.5, 0.84134, 0.97725]))
    assert rates == pytest.approx([0.25, 0.35, 0.45, 0.55, 0.65], abs=1e-3)
    assert flip_rates(0, np.array([0.0, 0.5, 1 - 2**-53])).tolist() == [0, 0, 0]


def test_features_are_block_means_about_their_channels_mean_in_steps_of_a_tenth():
    image = np.array([[[0, 51], [102, 51]], [[102, 51], [204, 51]]], dtype=np.uint8)[None]  # 2 x 2 pixels, 2 channels
    pattern = [-4, 0, 0, 0, 0, 0, 4, 0]  # channel 0: 0, .4, .4, .8 about .4; channel 1 is .2 everywhere
    assert features(image)[0] == pytest.approx([*pattern, -1, -3])  # then the means .4 and .2 about mid-grey


@pytest.mark.parametrize(("side", "channels", "size"), [(16, 1, 257), (32, 3, 771), (100, 1, 257), (5, 1, 26)])
def test_images_are_averaged_to_at_most_sixteen_blocks_a_side(side, channels, size):
    image = np.random.default_rng(0).integers(0, 256, (2, side, side, channels), dtype=np.uint8)
    found = features(image)
    assert found.shape == (2, size)
    edges = np.arange(17) * side // 16 if side >= 16 else np.arange(side + 1)
    first = image[0, : edges[1], : edges[1], 0].mean() / 255
    last = image[1, edges[-2] :, edges[-2] :, -1].mean() / 255
    mean = [found[i, -channels:] * 0.1 + 0.5 for i in (0, 1)]
    assert found[0, 0] * 0.1 + mean[0][0] == pytest.approx(first)
    assert found[1, -channels - 1] * 0.1 + mean[1][-1] == pytest.approx(last)


@pytest.mark.parametrize("looks", ["pattern", "brightness"])
def test_images_that_look_alike_flip_to_one_class_and_others_to_another(looks):
    N, C = 3000, 6
    rng = np.random.default_rng(0)
    second = np.arange(N) % 2 == 1
    kinds = np.full((2, 32, 32, 1), 128.0)
    if looks == "pattern":
        kinds[0, :16] += 60
        kinds[1, :, :16] += 60
    else:
        kinds[0] -= 80
        kinds[1] += 80
    images = (kinds[second.astype(int)] + rng.normal(0, 2, (N, 32, 32, 1))).clip(0, 255).astype(np.uint8)
    targets = np.zeros(N, dtype=np.int64)
    apart = 0
    for seed in range(10):
        noisy = through_images(targets, np.ones(N, dtype=bool), images, C, 0.4, seed)
        shares = []
        for own in (~second, second):
            flips = noisy[own & (noisy != 0)]
            shares.append(np.bincount(flips, minlength=C) / len(flips))
            assert abs(len(flips) / own.sum() - 0.4) < 5 * np.sqrt(0.24 / own.sum())
        apart += int(np.minimum(*shares).sum() < 0.3)  # overlap of the two distributions over the other classes
    assert apart >= 6  # two independent picks among five classes agree by chance in two of ten


def test_the_direction_of_a_flip_depends_on_the_class_too():
    image = np.random.default_rng(3).integers(0, 256, (1, 16, 16, 1), dtype=np.uint8)
    images = np.repeat(image, 4000, axis=0)
    targets = np.arange(4000) % 4
    noisy = through_images(targets, np.ones(4000, dtype=bool), images, 4, 0.5, seed=0)
    towards = [np.bincount(noisy[(targets == c) & (noisy != c)], minlength=4).argmax() for c in range(4)]
    assert all(there != own for own, there in enumerate(towards))
    assert len(set(towards)) > 1


def test_a_rate_of_zero_flips_nothing_and_small_rates_flip_their_share():
    images = np.random.default_rng(0).integers(0, 256, (20000, 2, 2, 1), dtype=np.uint8)
    targets, everywhere = np.arange(20000) % 3, np.ones(20000, dtype=bool)
    assert (through_images(targets, everywhere, images, 3, 0.0, 0) == targets).all()
    for rate in (0.01, 0.05, 0.97):
        realised = (through_images(targets, everywhere, images, 3, rate, 0) != targets).mean()
        assert abs(realised - rate) <= 5 * np.sqrt(rate * (1 - rate) / 20000)


def test_the_size_of_the_blocks_of_rows_does_not_change_the_labels(monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (300, 8, 8, 3), dtype=np.uint8)
    targets, affected = np.arange(300) % 5, np.arange(300) % 4 > 0
    whole = through_images(targets, affected, images, 5, 0.5, 0)
    monkeypatch.setattr(noise_instance, "BLOCK_ROWS", 7)
    assert (through_images(targets, affected, images, 5, 0.5, 0) == whole).all()
