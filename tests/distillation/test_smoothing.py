"""Smooth parameter averaging against Eq. 1 by hand."""

import pytest
import torch
from torch import nn

from pipeline.distillation.smoothing import RunningAverage, warmup_epochs


def filled(value: float) -> nn.Module:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(value)
    return model


@pytest.mark.parametrize(
    ("warmup", "epochs", "expected"), [(0.2, 50, 10), (0.2, 12, 2), (0.0, 5, 0), (0.9, 2, 1), (0.5, 1, 0)]
)
def test_the_warmup_scales_and_leaves_at_least_one_epoch(warmup, epochs, expected):
    assert warmup_epochs(warmup, epochs) == expected


def test_the_average_is_the_running_mean_of_eq_1():
    average = RunningAverage(filled(0.0))
    for value in (1.0, 2.0, 6.0):
        average.update(filled(value))
    assert average.count == 3
    smoothed = average.finish([torch.randn(8, 2)], torch.device("cpu"))
    assert all(torch.allclose(p, torch.full_like(p, 3.0)) for p in smoothed.parameters())


def test_one_averaged_checkpoint_is_the_checkpoint():
    average = RunningAverage(filled(0.0))
    average.update(filled(5.0))
    smoothed = average.finish([torch.randn(8, 2)], torch.device("cpu"))
    assert all(torch.equal(p, torch.full_like(p, 5.0)) for p in smoothed.parameters())


def test_batchnorm_statistics_are_recomputed_from_the_batches_for_the_averaged_weights():
    average = RunningAverage(filled(0.0))
    average.update(filled(1.0))
    pixels = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 0.0], [1.0, 0.0]])
    smoothed = average.finish([pixels], torch.device("cpu"))
    norm = smoothed[1]  # type: ignore[index]
    # the linear layer, all ones, gives x1 + x2 + 1 = 2, 3, 1, 2: mean 2, unbiased variance 2/3
    assert norm.running_mean.tolist() == pytest.approx([2.0, 2.0])
    assert norm.running_var.tolist() == pytest.approx([2 / 3, 2 / 3])


def test_a_saved_average_goes_on_counting():
    first = RunningAverage(filled(0.0))
    first.update(filled(1.0))
    first.update(filled(2.0))
    second = RunningAverage(filled(9.0))
    second.load_state_dict(first.state_dict())
    second.update(filled(6.0))
    assert second.count == 3
    smoothed = second.finish([torch.randn(8, 2)], torch.device("cpu"))
    assert all(torch.allclose(p, torch.full_like(p, 3.0)) for p in smoothed.parameters())
