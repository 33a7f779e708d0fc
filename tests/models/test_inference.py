"""From stored images to logits: exact pixels, and answers that do not depend on how the images are cut into batches."""

import numpy as np
import pytest
import torch
from torch import nn

from models import inference
from models.inference import predict, prediction_batch, to_pixels

CPU = torch.device("cpu")


def test_pixels_are_the_bytes_over_255_channels_last():
    block = torch.arange(256, dtype=torch.uint8).repeat(3).reshape(4, 8, 8, 3)
    pixels = to_pixels(block)
    assert pixels.shape == (4, 3, 8, 8)
    assert pixels.dtype == torch.float32
    assert pixels.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(pixels, torch.from_numpy(block.numpy().transpose(0, 3, 1, 2) / np.float32(255)))


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Dropout(0.5), nn.Linear(144, 2))


@pytest.mark.parametrize("batch_size", [1, 3, 10, 256, None])
def test_answers_do_not_depend_on_the_batch(network, batch_size):
    images = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), dtype=np.uint8)
    rows = np.array([3, 19, 0, 5, 5, 8, 2, 1, 14, 7])
    network.eval()
    with torch.no_grad():
        expected = network(torch.from_numpy(images[rows]).permute(0, 3, 1, 2).float() / 255).numpy()
    network.train()
    got = predict(network, images, rows, CPU, batch_size=batch_size)
    assert got == pytest.approx(expected, abs=1e-6)
    assert network.training


def test_bfloat16_answers_are_float32_and_close(network):
    images = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), dtype=np.uint8)
    exact = predict(network, images, np.arange(20), CPU)
    rounded = predict(network, images, np.arange(20), CPU, dtype=torch.bfloat16)
    assert rounded.dtype == np.float32
    assert rounded == pytest.approx(exact, abs=0.02)
    assert (rounded != exact).any()


@pytest.mark.parametrize(
    ("side", "free", "expected"),
    [
        (32, 80 * 2**30, 1024),  # never more: a GPU gains nothing from it
        (224, 80 * 2**30, 104),  # a quarter of 80 GiB over 224 * 224 * 4 KiB
        (224, 2**20, 1),
    ],
)
def test_a_gpu_answers_as_many_images_at_once_as_a_quarter_of_its_memory_holds(side, free, expected, monkeypatch):
    monkeypatch.setattr(inference, "free_memory", lambda device: free)
    assert prediction_batch((10, side, side, 3), torch.device("cuda")) == expected


@pytest.mark.parametrize(("side", "expected"), [(28, 256), (32, 256), (64, 128), (128, 32), (224, 10), (1024, 1)])
def test_a_processor_answers_as_many_images_at_once_as_its_caches_take(side, expected):
    assert prediction_batch((10_000, side, side, 3), CPU) == expected
