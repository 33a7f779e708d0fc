"""Weights files of timm's tiny networks, as a publisher would leave them."""

from pathlib import Path

import timm
import torch
from safetensors.torch import save_file
from torch import nn


def tiny(name: str = "test_resnet", seed: int = 0, **changes: object) -> nn.Module:
    """A network of timm with its 1000 classes; its BatchNorm layers have statistics, as after a training."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = timm.create_model(name, **changes)
        for part in network.modules():
            if isinstance(part, nn.BatchNorm2d):
                assert part.running_mean is not None
                assert part.running_var is not None
                nn.init.normal_(part.running_mean, std=0.1)
                nn.init.uniform_(part.running_var, 0.5, 1.5)
                nn.init.uniform_(part.weight, 0.5, 1.5)
    return network.eval()


def made_weights(path: Path, network: nn.Module | None = None) -> Path:
    """Save a network's state dict, that of the tiny ResNet if none is given, as safetensors; returns the path."""
    state = (network or tiny()).state_dict()
    save_file({name: value.contiguous() for name, value in state.items()}, path)
    return path
