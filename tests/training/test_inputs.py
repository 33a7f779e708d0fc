"""Inputs: pixels in their views, stored features, and what a network answers to them."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models.inference import PlainImages
from pipeline.common.errors import UserError
from pipeline.training.feed import PrefetchedImages, ResidentImages
from pipeline.training.inputs import FEATURES_AT_ONCE, Features, Pixels, answers
from tests.training.tiny import CPU, N, V, pictures, small_network, views

BATCHES = [np.array([3, 0, 41]), np.array([7]), np.array([7, 49]), np.array([12, 2])]
OF_BATCHES = [1, 0, V, 1]


@pytest.fixture
def stores(tmp_path):
    """The files of V = 2 augmented views and of the clean one, and what is in them: float16 (20, 4)."""
    drawn = np.random.default_rng(0)
    arrays = [drawn.normal(size=(20, 4)).astype(np.float16) for _ in range(V + 1)]
    paths = [tmp_path / f"view{view}.npy" for view in range(V + 1)]
    for path, array in zip(paths, arrays, strict=True):
        np.save(path, array)
    return paths, arrays


@pytest.mark.parametrize("reader", [None, PlainImages, ResidentImages, PrefetchedImages])
def test_pixels_are_each_batch_in_its_view_in_the_order_of_its_rows(reader):
    images = pictures()
    given = images if reader is None else reader(images, *([np.arange(N + 5)] if reader is ResidentImages else []), CPU)
    inputs = Pixels(given, views("lesion"), CPU)
    found = list(inputs.read(BATCHES, OF_BATCHES))
    assert len(found) == len(BATCHES)
    for block, rows, view in zip(found, BATCHES, OF_BATCHES, strict=True):
        pixels = torch.from_numpy(images[rows]).permute(0, 3, 1, 2) / 255
        assert torch.equal(block, views("lesion").apply(pixels, torch.from_numpy(rows), view))
        assert torch.equal(block, pixels) is (view == V)


def test_features_are_the_stored_rows_of_each_batchs_view_in_float32(stores):
    paths, arrays = stores
    batches = [rows % 20 for rows in BATCHES]
    found = list(Features(paths, CPU).read(batches, OF_BATCHES))
    assert len(found) == len(batches)
    for block, rows, view in zip(found, batches, OF_BATCHES, strict=True):
        assert block.dtype == torch.float32
        assert block.tolist() == arrays[view][rows].astype(np.float32).tolist()


@pytest.mark.gpu
def test_a_gpu_holds_the_same_features(stores):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    batches = [rows % 20 for rows in BATCHES]
    on_gpu = Features(stores[0], torch.device("cuda")).read(batches, OF_BATCHES)
    for block, expected in zip(on_gpu, Features(stores[0], CPU).read(batches, OF_BATCHES), strict=True):
        assert block.is_cuda
        assert torch.equal(block.cpu(), expected)


def test_both_kinds_of_inputs_go_through_the_views_alike(stores):
    pixels, features = Pixels(pictures(), views(), CPU), Features(stores[0], CPU)
    for inputs in (pixels, features):
        assert inputs.count == V
        assert [inputs.of_pass(number) for number in range(5)] == [0, 1, 0, 1, 0]
    assert features.num_features == 4
    assert (pixels.at_once, features.at_once) == (256, FEATURES_AT_ONCE)


@pytest.mark.parametrize("training", [True, False])
def test_answers_are_given_in_evaluation_mode_which_is_left_as_it_was(training):
    model, inputs, rows = small_network(dropout=0.5).train(training), Pixels(pictures(), views(), CPU), BATCHES[0]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = answers(model, inputs, rows, 1, CPU)
    assert all(part.training is training for part in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    model.eval()
    with torch.no_grad():
        expected = model(next(inputs.read([rows], [1])))
    assert found.dtype == np.float32
    assert np.array_equal(found, expected.numpy())
    assert not np.allclose(found, answers(model, inputs, rows, 0, CPU))


@pytest.mark.parametrize("at_once", [1, 3, 7, 20])
def test_answers_are_in_the_order_of_the_rows_however_many_are_read_at_once(stores, at_once):
    sizes = []

    class Double(nn.Module):
        def forward(self, features: Tensor) -> Tensor:
            sizes.append(len(features))
            return 2 * features

    paths, arrays = stores
    inputs, rows = Features(paths, CPU), np.array([5, 19, 0, 5, 3, 11, 2])
    inputs.at_once = at_once
    found = answers(Double(), inputs, rows, V, CPU)
    assert found.tolist() == (2 * arrays[V][rows].astype(np.float32)).tolist()
    assert sum(sizes) == len(rows)
    assert max(sizes) == min(at_once, len(rows))


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(path.read_bytes()[:20]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_text("no array"),
        lambda path: path.unlink(),
    ],
)
def test_a_damaged_file_of_features_is_reported_by_name(stores, damage):
    paths, _ = stores
    damage(paths[1])
    with pytest.raises(UserError, match=r"is damaged or cut off \(.*\)\. Delete its folder and run again") as error:
        Features(paths, CPU)
    assert str(error.value).startswith(f"{paths[1]}: ")
