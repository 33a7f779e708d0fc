"""Which device, and which precision its steps are computed in."""

import pytest
import torch
from torch import nn

from pipeline.common.errors import UserError
from pipeline.training.device import autocast_dtype, pick_device

PLAIN = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
DEPTHWISE = nn.Sequential(nn.Conv2d(8, 8, 3, groups=8))


@pytest.fixture
def fresh_settings():
    """Put torch's global settings back afterwards."""
    before = torch.backends.cudnn.benchmark, torch.get_float32_matmul_precision()
    yield
    torch.backends.cudnn.benchmark = before[0]
    torch.set_float32_matmul_precision(before[1])


def test_a_gpu_that_is_not_there_is_reported(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=r"machine\.device is cuda, but torch sees no CUDA device; set it to auto"):
        pick_device("cuda")
    assert pick_device("auto") == torch.device("cpu")


@pytest.mark.usefixtures("fresh_settings")
def test_a_gpu_may_use_tf32_and_tunes_its_convolutions_and_a_cpu_is_left_alone(monkeypatch):
    taken: list[int] = []
    torch.backends.cudnn.benchmark = False
    torch.set_float32_matmul_precision("highest")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    assert pick_device("cpu") == torch.device("cpu")
    assert (torch.backends.cudnn.benchmark, torch.get_float32_matmul_precision()) == (False, "highest")
    assert pick_device("auto") == torch.device("cuda", 0)
    assert (torch.backends.cudnn.benchmark, torch.get_float32_matmul_precision()) == (True, "high")
    assert pick_device("auto", local_rank=1) == torch.device("cuda", 1)
    assert taken == [0, 1]
    with pytest.raises(UserError, match=r"machine\.processes asks for 3 or more processes.* has 2 GPUs"):
        pick_device("cuda", local_rank=2)


@pytest.mark.parametrize(
    ("device", "able", "model", "precision", "expected"),
    [
        ("cpu", True, PLAIN, "auto", torch.bfloat16),
        ("cpu", True, DEPTHWISE, "auto", None),
        ("cpu", False, PLAIN, "auto", None),
        ("cpu", True, PLAIN, "float32", None),
        ("cuda", True, DEPTHWISE, "auto", torch.bfloat16),
        ("cuda", False, PLAIN, "auto", None),
        ("cuda", True, PLAIN, "float32", None),
    ],
)
def test_steps_are_bfloat16_where_the_device_is_faster_with_them(device, able, model, precision, expected, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": able, "avx512_f": True})
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: able)
    assert autocast_dtype(torch.device(device), model, precision) == expected
