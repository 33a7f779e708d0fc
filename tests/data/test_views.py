"""Views: pure functions of (sample, view, seed), with known results at known draws."""

import numpy as np
import pytest
import torch

from pipeline.data.views import DRAWS, PRESETS, Preset, Views, affine, draws, transform
from pipeline.params import ViewParams


def test_draws_of_a_row_do_not_depend_on_how_many_rows_there_are():
    assert (draws(3, 1, 10) == draws(3, 1, 1000)[:10]).all()
    assert (draws(3, 1, 10) != draws(3, 2, 10)).any()
    assert (draws(3, 1, 10) != draws(4, 1, 10)).any()
    assert draws(0, 0, 4000).mean(axis=0) == pytest.approx(np.full(DRAWS, 0.5), abs=0.03)


def test_a_view_does_not_depend_on_the_batch():
    images = torch.rand(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    views = Views(ViewParams(count=4, preset="lesion", seed=0), 8)
    whole = views.apply(images, np.arange(8), 2)
    alone = views.apply(images[5:6], np.array([5]), 2)
    assert torch.allclose(whole[5:6], alone, atol=1e-6)
    assert not torch.allclose(whole, images)


def test_epochs_cycle_through_the_views_and_the_last_number_is_the_clean_image():
    views = Views(ViewParams(count=3, preset="chest", seed=0), 4)
    assert [views.of_epoch(epoch) for epoch in range(5)] == [0, 1, 2, 0, 1]
    pixels = torch.rand(4, 1, 32, 32)
    assert views.apply(pixels, np.arange(4), 3) is pixels


def identity_draws(**changes: float) -> torch.Tensor:
    """Draws in the middle of every range; flips off (a flip needs a draw below 1/2)."""
    names = ["flip_x", "flip_y", "rotate", "scale", "shift_x", "shift_y"]
    values = torch.full((1, DRAWS), 0.5)
    for name, value in changes.items():
        values[0, names.index(name)] = value
    return values


def test_the_middle_of_every_range_is_the_identity():
    assert torch.allclose(affine(identity_draws(), PRESETS["lesion"]), torch.eye(2, 3)[None], atol=1e-6)
    pixels = torch.rand(1, 3, 8, 8)
    no_hole = Preset(**{**PRESETS["lesion"].__dict__, "cutout": 0.0})
    assert torch.allclose(transform(pixels, identity_draws(), no_hole), pixels, atol=1e-5)


def test_flips_and_quarter_turns_are_exact():
    pixels = torch.arange(16.0).reshape(1, 1, 4, 4) / 16
    flip = Preset(flip_x=True)
    assert torch.allclose(transform(pixels, identity_draws(flip_x=0.1), flip), pixels.flip(3), atol=1e-6)
    flip = Preset(flip_y=True)
    assert torch.allclose(transform(pixels, identity_draws(flip_y=0.1), flip), pixels.flip(2), atol=1e-6)
    turned = transform(pixels, identity_draws(rotate=0.75), Preset(rotate=180.0))
    assert torch.allclose(turned, torch.rot90(pixels, 1, (2, 3)), atol=1e-5)


def test_a_shift_of_a_quarter_moves_the_image_by_a_quarter_of_its_side():
    pixels = torch.zeros(1, 1, 8, 8)
    pixels[0, 0, 2, 4] = 1
    moved = transform(pixels, identity_draws(shift_x=1.0), Preset(translate=0.25))
    assert moved[0, 0, 2].argmax().item() == 2
    assert moved.sum().item() == pytest.approx(1)


def test_cutout_replaces_a_square_by_the_channel_mean():
    pixels = torch.rand(1, 1, 10, 10)
    holed = transform(pixels, identity_draws(), Preset(cutout=0.4))
    inside = holed[0, 0, 3:7, 3:7]
    assert torch.allclose(inside, pixels.mean().expand(4, 4))
    holed[0, 0, 3:7, 3:7] = pixels[0, 0, 3:7, 3:7]
    assert torch.equal(holed, pixels)


@pytest.mark.parametrize("name", sorted(PRESETS))
@pytest.mark.parametrize("channels", [1, 3])
def test_every_preset_stays_in_range_and_keeps_the_shape(name, channels):
    pixels = torch.rand(64, channels, 33, 40)
    out = transform(pixels, torch.from_numpy(draws(0, 0, 64)), PRESETS[name])
    assert out.shape == pixels.shape
    assert out.min() >= 0
    assert out.max() <= 1
