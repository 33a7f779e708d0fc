"""Steps of the optimiser: SGD or AdamW, a learning rate of its own for the backbone, warm-up and decay."""

import math
from collections.abc import Callable

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from models.classifier import Classifier
from pipeline.params.learning import TrainingParams

BACKBONE = "backbone."
DECAY = 0.1
"""Factor at each of `training.decay_at`."""


def make_optimiser(model: nn.Module, params: TrainingParams) -> torch.optim.Optimizer:
    """Return the optimiser of `training.optimiser`; the backbone's learning rate is `backbone_lr` times the head's.

    A backbone whose factor is 0 is frozen: it gets no gradient, and `set_training` keeps it in evaluation mode.
    """
    named = list(model.named_parameters())
    backbone = [value for name, value in named if BACKBONE in name]
    groups: list[dict[str, object]] = [{"params": [value for _, value in named]}]
    if backbone and params.backbone_lr != 1:
        groups = [{"params": [value for name, value in named if BACKBONE not in name]}]
        if params.backbone_lr:
            groups.append({"params": backbone, "lr": params.lr * params.backbone_lr})
        else:
            for value in backbone:
                value.requires_grad_(False)
    if params.optimiser == "adamw":
        return torch.optim.AdamW(groups, params.lr, weight_decay=params.weight_decay, fused=True)
    return torch.optim.SGD(groups, params.lr, params.momentum, weight_decay=params.weight_decay, fused=True)


def is_frozen(model: nn.Module) -> bool:
    """Whether the model has backbones that are not trained."""
    return any(not value.requires_grad for name, value in model.named_parameters() if BACKBONE in name)


def set_training(model: nn.Module) -> None:
    """Put a model into training mode, a frozen backbone into evaluation mode."""
    model.train()
    if is_frozen(model):
        for part in model.modules():
            if isinstance(part, Classifier):
                part.backbone.eval()


def make_scheduler(optimiser: torch.optim.Optimizer, params: TrainingParams, steps: int) -> LambdaLR:
    """Return the schedule of the learning rate, which is stepped after each of the `steps` of an epoch."""
    return LambdaLR(optimiser, lr_factor(params, steps))


def lr_factor(params: TrainingParams, steps: int) -> Callable[[int], float]:
    """Return the factor on the learning rate as a function of the step, from 0; `steps`: of an epoch.

    It rises evenly to 1 within the share `lr_warmup` of all steps. `step`: times 0.1 at each of `decay_at`, rounded to
    whole epochs; `cosine`: half a cosine from the end of the warm-up to 0 (Loshchilov & Hutter 2017, without restarts).
    """
    total = params.epochs * steps
    warm = min(round(params.lr_warmup * total), total - 1)
    milestones = [round(share * params.epochs) for share in params.decay_at]

    def factor(step: int) -> float:
        if step < warm:
            return (step + 1) / warm
        if params.decay == "cosine":
            return 0.5 * (1 + math.cos(math.pi * (step - warm) / (total - warm)))
        return DECAY ** sum(step // steps >= milestone for milestone in milestones)

    return factor
