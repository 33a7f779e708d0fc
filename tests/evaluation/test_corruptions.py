"""Corruptions: literal values of each, and what all of them keep to."""

import io

import numpy as np
import pytest
from PIL import Image

from pipeline.common.seeds import stream
from pipeline.evaluation import corruptions
from pipeline.evaluation.corruptions import CORRUPTIONS, corrupt, disc
from pipeline.evaluation.severities import OF_FILMS, OF_LESIONS, SEVERITIES, suited

SEED = 3


def photographs(n: int = 6, side: int = 64, channels: int = 3) -> np.ndarray:
    """Smooth images with a dark patch and some texture, away from black and white."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:side, :side] / side
    shade = 150 + 40 * np.sin(6 * x[None] + rng.random((n, 1, 1)) * 6) * np.cos(5 * y[None])
    shade -= 70 * (np.hypot(y - 0.5, x - 0.5) < 0.25)
    grain = rng.normal(scale=6, size=(n, side, side, channels))
    return np.clip(shade[..., None] + grain, 0, 255).astype(np.uint8)


def test_every_named_corruption_has_five_severities_and_a_function() -> None:
    assert list(CORRUPTIONS) == list(SEVERITIES)
    assert {len(strengths) for strengths in SEVERITIES.values()} == {5}


@pytest.mark.parametrize("kind", SEVERITIES)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_corrupted_image_keeps_type_and_shape_and_is_further_away_the_stronger_it_is(kind, channels) -> None:
    images, rows = photographs(channels=channels), np.arange(6)
    before = images.copy()
    distances = []
    for severity in range(1, 6):
        found = corrupt(images, rows, kind, severity, SEED)
        assert (found.dtype, found.shape) == (np.uint8, images.shape)
        distances.append(np.sqrt(((found.astype(float) - images) ** 2).mean()))
    assert distances[0] > 0 or kind == "gaussian_blur"  # 0.3 px at this side
    assert distances == sorted(distances)
    assert distances[4] > 1.25 * distances[0]
    np.testing.assert_array_equal(images, before)


@pytest.mark.parametrize("kind", SEVERITIES)
def test_an_image_is_corrupted_alike_in_every_batch_and_order(kind) -> None:
    images, rows = photographs(), np.array([40, 2, 7, 11, 5, 3])
    together = corrupt(images, rows, kind, 3, SEED)
    order = np.array([4, 0, 5])
    np.testing.assert_array_equal(corrupt(images[order], rows[order], kind, 3, SEED), together[order])
    alone = corrupt(images[2:3], rows[2:3], kind, 3, SEED)
    np.testing.assert_array_equal(alone, together[2:3])


@pytest.mark.parametrize("kind", ["gaussian_noise", "speckle_noise", "impulse_noise", "ruler", "bubbles"])
def test_draws_depend_on_row_seed_and_kind(kind) -> None:
    same = np.repeat(photographs(1), 40, axis=0)
    found = corrupt(same, np.arange(40), kind, 5, SEED)
    assert any(not np.array_equal(found[0], one) for one in found[1:])
    assert not np.array_equal(corrupt(same, np.arange(40), kind, 5, SEED + 1), found)


def test_noise_has_the_published_deviation() -> None:
    grey = np.full((8, 64, 64, 3), 128, np.uint8)
    found = corrupt(grey, np.arange(8), "gaussian_noise", 2, SEED).astype(float) / 255
    assert found.std() == pytest.approx(0.08, rel=0.01)
    found = corrupt(grey, np.arange(8), "speckle_noise", 2, SEED).astype(float) / 255
    assert found.std() == pytest.approx(0.15 * 128 / 255, rel=0.01)
    found = corrupt(grey, np.arange(8), "impulse_noise", 5, SEED)
    assert np.mean(found == 0) == pytest.approx(0.085, abs=0.003)
    assert np.mean(found == 255) == pytest.approx(0.085, abs=0.003)
    assert set(np.unique(found)) == {0, 128, 255}


@pytest.mark.parametrize(
    ("kind", "severity", "pixel", "expected"),
    [
        ("brightness_up", 5, 100, 150),
        ("brightness_up", 5, 200, 255),
        ("brightness_down", 1, 100, 90),
        ("gamma_up", 5, 51, round(255 * 0.2**1.6)),
        ("gamma_down", 5, 51, round(255 * 0.2**0.4)),
        ("gamma_down", 3, 0, 0),
        ("gamma_up", 3, 255, 255),
    ],
)
def test_pointwise_corruptions(kind, severity, pixel, expected) -> None:
    images = np.full((1, 32, 32, 1), pixel, np.uint8)
    assert (corrupt(images, np.arange(1), kind, severity, SEED) == expected).all()


def test_contrast_is_about_the_images_mean() -> None:
    images = np.zeros((1, 32, 32, 1), np.uint8)
    images[0, :16], images[0, 16:] = 100, 200
    found = corrupt(images, np.arange(1), "contrast_down", 3, SEED)  # 150 -+ 0.6 x 50
    assert (found[0, 0, 0, 0], found[0, -1, 0, 0]) == (120, 180)
    found = corrupt(images, np.arange(1), "contrast_up", 3, SEED)  # 150 -+ 1.3 x 50
    assert (found[0, 0, 0, 0], found[0, -1, 0, 0]) == (85, 215)


@pytest.mark.parametrize("kind", ["gaussian_blur", "defocus_blur", "pixelate"])
def test_blur_and_low_resolution_keep_an_even_image_and_the_mean(kind) -> None:
    even = np.full((1, 64, 64, 3), 77, np.uint8)
    np.testing.assert_array_equal(corrupt(even, np.arange(1), kind, 5, SEED), even)
    images = photographs()
    found = corrupt(images, np.arange(6), kind, 5, SEED)
    assert found.mean() == pytest.approx(images.mean(), abs=0.5)
    assert found.astype(float).var() < images.astype(float).var()


def test_the_disc_sums_to_one_and_is_round() -> None:
    kernel = disc(2.0)
    assert kernel.shape == (5, 5)
    assert kernel.sum() == pytest.approx(1)
    np.testing.assert_array_equal(kernel, kernel.T)
    np.testing.assert_array_equal(kernel, kernel[::-1])
    assert kernel[0, 0] == 0
    assert kernel[2, 0] == pytest.approx(kernel[2, 2] / 2)  # the rim at distance 2 has half the weight


def test_pixelate_shows_means_of_areas() -> None:
    images = np.arange(64 * 64, dtype=np.int64).reshape(1, 64, 64, 1) // 16
    found = corrupt(images.astype(np.uint8), np.arange(1), "pixelate", 5, SEED)[0, :, :, 0]  # 16 pixels a side
    blocks = images[0, :, :, 0].reshape(16, 4, 16, 4).mean(axis=(1, 3))
    assert np.abs(found[::4, ::4] - blocks).max() <= 0.5
    np.testing.assert_array_equal(found, np.repeat(np.repeat(found[::4, ::4], 4, axis=0), 4, axis=1))


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_is_pillows_at_the_published_quality(channels) -> None:
    images = photographs(1, channels=channels)
    stored = io.BytesIO()
    Image.fromarray(images[0].squeeze()).save(stored, "JPEG", quality=15)
    expected = np.asarray(Image.open(stored)).reshape(images[0].shape)
    np.testing.assert_array_equal(corrupt(images, np.arange(1), "jpeg", 3, SEED)[0], expected)


def test_dark_corners_leave_a_disc() -> None:
    images = np.full((1, 64, 64, 3), 200, np.uint8)
    found = corrupt(images, np.arange(1), "dark_corners", 3, SEED)[0]
    assert (found[[0, 0, -1, -1], [0, -1, 0, -1]] == 0).all()
    assert np.mean(found > 0) == pytest.approx(np.pi / 4, abs=0.01)
    assert set(np.unique(found)) == {0, 200}


def test_a_ruler_is_at_one_edge_and_its_fifth_marks_are_longer() -> None:
    white, edges = np.full((48, 48, 1), 255, np.uint8), set()
    for row in range(30):
        found = corrupt(white[None], np.array([row]), "ruler", 5, SEED)[0, :, :, 0]
        marked = found == round(255 * corruptions.MARK_VALUE)
        assert ((found == 255) | marked).all()
        sides = {"top": marked[0], "left": marked[:, 0], "bottom": marked[-1], "right": marked[:, -1]}
        edge = max(sides, key=lambda name: sides[name].sum())
        edges.add(edge)
        along = {"top": marked, "bottom": marked[::-1], "left": marked.T, "right": marked[:, ::-1].T}[edge]
        lengths = along.sum(axis=0)
        assert set(lengths.tolist()) == {0, 8, 15}  # pixels whose centres are within 0.16 and 0.32 of the side
        assert (lengths == 15).sum() == 5
    assert edges == {"top", "left", "bottom", "right"}


def test_bubbles_lighten_and_stronger_ones_add_to_the_same() -> None:
    images = np.full((1, 96, 96, 3), 102, np.uint8)
    two, six = (corrupt(images, np.array([4]), "bubbles", severity, SEED) for severity in (1, 3))
    assert set(np.unique(two)) == {102, 140, 209}  # a quarter, and 0.7, of the way to white
    assert ((six >= two) & (two >= 102)).all()
    assert (six > two).any()


def test_what_suits_depends_on_preset_and_channels() -> None:
    common = set(SEVERITIES) - {*OF_LESIONS, *OF_FILMS}
    assert len(common) == 11
    assert set(suited("flip_crop", 3)) == set(suited("none", 3)) == common
    assert set(suited("lesion", 3)) == common | set(OF_LESIONS)
    assert set(suited("chest", 3)) == set(suited("flip_crop", 1)) == common | set(OF_FILMS)


def test_values_outside_the_range_are_cut(monkeypatch) -> None:
    monkeypatch.setitem(CORRUPTIONS, "gamma_up", lambda pixels, strength, draws: pixels * 10 - 1)
    images = np.array([0, 20, 30, 250], np.uint8).reshape(1, 2, 2, 1)
    assert corrupt(images, np.arange(1), "gamma_up", 1, SEED).ravel().tolist() == [0, 0, 45, 255]


def test_the_stream_is_named_after_the_kind() -> None:
    images = photographs(1)
    noise = stream(SEED, "corruption/gaussian_noise", 9).standard_normal((64, 64, 3), dtype=np.float32)
    expected = np.rint(255 * np.clip(images[0].astype(np.float32) / 255 + 0.12 * noise, 0, 1)).astype(np.uint8)
    np.testing.assert_array_equal(corrupt(images, np.array([9]), "gaussian_noise", 3, SEED)[0], expected)
