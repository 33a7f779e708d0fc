"""Views: pure functions of (sample, view, seed), with known results at known draws."""

import numpy as np
import pytest
import torch

from pipeline.data.views import DRAWS, PRESETS, Preset, Views, affine, draws, parameters, transform
from pipeline.params.tree import ViewParams


def test_draws_of_a_row_do_not_depend_on_how_many_rows_there_are():
    assert (draws(3, 1, 10) == draws(3, 1, 1000)[:10]).all()
    assert (draws(3, 1, 10) != draws(3, 2, 10)).any()
    assert (draws(3, 1, 10) != draws(4, 1, 10)).any()
    assert (draws(3, 1, 10) != draws(3, 1, 10, of_teachers=True)).all()
    assert draws(0, 0, 4000).mean(axis=0) == pytest.approx(np.full(DRAWS, 0.5), abs=0.03)


@pytest.mark.parametrize("name", sorted(PRESETS))
@pytest.mark.parametrize("channels", [1, 3])
def test_a_batch_gets_what_each_of_its_images_gets_alone(name, channels):
    images = torch.rand(8, channels, 16, 12, generator=torch.Generator().manual_seed(0))
    views = Views(ViewParams(count=4, preset=name, seed=0), 20)
    rows = torch.tensor([5, 0, 19, 7, 7, 3, 12, 1])
    whole = views.apply(images, rows, 2)
    alone = torch.cat([views.apply(images[i : i + 1], rows[i : i + 1], 2) for i in range(8)])
    assert torch.allclose(whole, alone, atol=1e-6)
    assert torch.allclose(whole, images) == (name == "none")


def test_the_parameters_of_a_view_go_to_the_device_once(monkeypatch):
    sent: list[torch.Size] = []

    def to_device(values: torch.Tensor, device: torch.device) -> torch.Tensor:
        sent.append(values.shape)
        return values.to(device)

    monkeypatch.setattr("pipeline.data.views.to_device", to_device)
    views = Views(ViewParams(count=4, preset="lesion", seed=0), 20)
    for view in (0, 0, 0, 1, 1):
        views.apply(torch.rand(2, 3, 8, 8), torch.tensor([3, 4]), view)
    assert sent == [(20, 14), (20, 14)]


@pytest.mark.gpu
@pytest.mark.parametrize("name", sorted(PRESETS))
@pytest.mark.parametrize("channels", [1, 3])
def test_a_gpu_shows_the_same_views(name, channels):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    noise = torch.rand(64, channels, 64, 64, generator=torch.Generator().manual_seed(0))
    images = torch.nn.functional.avg_pool2d(noise, 5, stride=1, padding=2)
    views = Views(ViewParams(count=4, preset=name, seed=0), 64)
    on_cpu = views.apply(images, torch.arange(64), 1)
    on_gpu = views.apply(images.cuda(), torch.arange(64).cuda(), 1).cpu()
    # a hole's edge may fall on the other side of a pixel's centre by rounding: never seen more than a pixel apart
    assert ((on_gpu - on_cpu).abs() > 1e-4).float().mean() < 1e-4


def test_epochs_cycle_through_the_views_and_the_last_number_is_the_clean_image():
    views = Views(ViewParams(count=3, preset="chest", seed=0), 4)
    assert [views.of_epoch(epoch) for epoch in range(5)] == [0, 1, 2, 0, 1]
    pixels = torch.rand(4, 1, 32, 32)
    assert views.apply(pixels, torch.arange(4), 3) is pixels


def drawn(pixels: torch.Tensor, draws: torch.Tensor, preset: Preset) -> torch.Tensor:
    return transform(pixels, parameters(draws, preset), preset)


def identity_draws(**changes: float) -> torch.Tensor:
    """Draws in the middle of every range; flips off (a flip needs a draw below 1/2)."""
    names = ["flip_x", "flip_y", "rotate", "scale", "shift_x", "shift_y"]
    values = torch.full((1, DRAWS), 0.5)
    for name, value in changes.items():
        values[0, names.index(name)] = value
    return values


def test_the_middle_of_every_range_is_the_identity():
    assert torch.allclose(affine(identity_draws(), PRESETS["lesion"]), torch.eye(2, 3)[None], atol=1e-6)
    expected = [1, 0, 0, 0, 1, 0, 1, 1, 1, 1, 1, 1, 0.5, 0.5]
    assert parameters(identity_draws(), PRESETS["lesion"])[0].tolist() == pytest.approx(expected, abs=1e-6)
    pixels = torch.rand(1, 3, 8, 8)
    no_hole = Preset(**{**PRESETS["lesion"].__dict__, "cutout": 0.0})
    assert torch.allclose(drawn(pixels, identity_draws(), no_hole), pixels, atol=1e-5)


def test_flips_and_quarter_turns_are_exact():
    pixels = torch.arange(16.0).reshape(1, 1, 4, 4) / 16
    flip = Preset(flip_x=True)
    assert torch.allclose(drawn(pixels, identity_draws(flip_x=0.1), flip), pixels.flip(3), atol=1e-6)
    flip = Preset(flip_y=True)
    assert torch.allclose(drawn(pixels, identity_draws(flip_y=0.1), flip), pixels.flip(2), atol=1e-6)
    turned = drawn(pixels, identity_draws(rotate=0.75), Preset(rotate=180.0))
    assert torch.allclose(turned, torch.rot90(pixels, 1, (2, 3)), atol=1e-5)


def test_a_shift_of_a_quarter_moves_the_image_by_a_quarter_of_its_side():
    pixels = torch.zeros(1, 1, 8, 8)
    pixels[0, 0, 2, 4] = 1
    moved = drawn(pixels, identity_draws(shift_x=1.0), Preset(translate=0.25))
    assert moved[0, 0, 2].argmax().item() == 2
    assert moved.sum().item() == pytest.approx(1)


def test_colours_are_scaled_about_the_mean_and_the_grey():
    draws = torch.full((1, DRAWS), 0.5)
    draws[0, 6:12] = torch.tensor([1.0, 0.0, 1.0, 0.5, 0.5, 1.0])  # the ends of brightness, contrast, saturation, blue
    preset = Preset(brightness=0.1, contrast=0.2, saturation=0.5, tint=0.1)
    assert parameters(draws, preset)[0, 6:12].tolist() == pytest.approx([1.1, 0.8, 1.5, 1.0, 1.0, 1.1])
    pixels = torch.tensor([[0.2, 0.4], [0.3, 0.3], [0.4, 0.2]]).reshape(1, 3, 1, 2)
    # mean 0.3, so (p - 0.3) 0.8 + 0.33 = .25 .41 | .33 .33 | .41 .25; grey .33; 1.5 times the distance from it; tint
    expected = torch.tensor([[0.21, 0.45], [0.33, 0.33], [0.45 * 1.1, 0.21 * 1.1]]).reshape(1, 3, 1, 2)
    assert torch.allclose(drawn(pixels, draws, preset), expected, atol=1e-6)


def test_cutout_replaces_a_square_by_the_channel_mean():
    pixels = torch.rand(1, 1, 10, 10)
    holed = drawn(pixels, identity_draws(), Preset(cutout=0.4))
    inside = holed[0, 0, 3:7, 3:7]
    assert torch.allclose(inside, pixels.mean().expand(4, 4))
    holed[0, 0, 3:7, 3:7] = pixels[0, 0, 3:7, 3:7]
    assert torch.equal(holed, pixels)


@pytest.mark.parametrize("name", sorted(PRESETS))
@pytest.mark.parametrize("channels", [1, 3])
def test_every_preset_stays_in_range_and_keeps_the_shape(name, channels):
    pixels = torch.rand(64, channels, 33, 40)
    out = drawn(pixels, torch.from_numpy(draws(0, 0, 64)), PRESETS[name])
    assert out.shape == pixels.shape
    assert out.min() >= 0
    assert out.max() <= 1
