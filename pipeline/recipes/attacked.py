"""The recipe of an attack: what one trained student answers to images that one attack made at one budget."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models.inference import prediction_batch, to_device, to_pixels
from pipeline.common.files import atomic
from pipeline.common.seeds import stream
from pipeline.evaluation.attacked import Setting
from pipeline.evaluation.attacks import answer, fgsm, pgd, zero_gradients
from pipeline.evaluation.goals import Goal
from pipeline.evaluation.square import square
from pipeline.params.attacks import AttackParams
from pipeline.recipes.code import fingerprint
from pipeline.recipes.store import Node, OnEpoch
from pipeline.runtime.parents import ParentWatch

LOGITS, ZEROS = "logits.npy", "zeros.npy"
CPU_BATCH, GPU_SHARE = 64, 8
"""At most so many images are attacked at once; on a GPU a fraction of those that it answers at once, since gradients
take room."""


@dataclass(frozen=True)
class Target:
    """A trained network under attack; `identity` is what decides it."""

    name: str
    network: nn.Module
    identity: Any


@dataclass(frozen=True)
class Victims:
    """The test images that are attacked: `rows` of `images`, uint8 (N, H, W, channels); `goal` is about those rows."""

    images: np.ndarray
    rows: np.ndarray
    goal: Goal
    identity: Any

    def switching(self, finding: int, *, on: bool) -> "Victims":
        """Return those images without a finding that is to be called in them (`on`), or those with it, to hide it.

        The goal has to be one for several findings.
        """
        chosen = torch.nonzero(self.goal.targets[:, finding] == (0 if on else 1)).flatten()
        goal = replace(self.goal.of(chosen), finding=finding, on=on)
        identity = {"of": self.identity, "finding": finding, "on": on}
        return Victims(self.images, self.rows[chosen.cpu().numpy()], goal, identity)


def attacked(
    target: Target, source: Target, victims: Victims, setting: Setting, params: AttackParams, device: torch.device
) -> Node:
    """Return the node of the target's logits, float32 (rows, C), under one attack; clean, also its zero gradients.

    `source`: the network that the images are made against, another than the target where they are transferred.
    `on_epoch` is called with the number of images that are done; those of a killed attempt stay done.
    """
    decides = {
        "code": fingerprint(__name__),
        "network": target.identity,
        "source": source.identity,
        "images": victims.identity,
        "attack": [*setting],
        "params": _own(setting, params),
    }
    files = (LOGITS,) if setting.attack else (LOGITS, ZEROS)

    def make(folder: Path, on_epoch: OnEpoch) -> None:
        shape = (len(victims.rows), *victims.images.shape[1:])
        answered = prediction_batch(shape, device)
        size = max(answered // GPU_SHARE, 1) if device.type == "cuda" else min(answered, CPU_BATCH)
        parents, found = ParentWatch(), []
        for start in range(0, len(victims.rows), size):
            chosen = np.arange(start, min(start + size, len(victims.rows)))
            part = folder / f"part-{start}-{size}.npz"
            if not part.exists():
                parents.require_alive()
                answers = _answers(target, source, victims, chosen, setting, params, device)
                with atomic(part) as temporary:
                    np.savez(temporary, **answers)  # type: ignore[arg-type]
            with np.load(part) as stored:
                found.append({name: stored[name] for name in stored.files})
            on_epoch(int(chosen[-1]) + 1, {})
        for file in files:
            with atomic(folder / file) as temporary:
                np.save(temporary, np.concatenate([one[Path(file).stem] for one in found]))

    return Node("attacks", f"answers of {target.name} under {setting.key}", decides, files, make)


def _own(setting: Setting, params: AttackParams) -> dict[str, Any]:
    """The parameters that an attack reads."""
    climbing = {"steps", "restarts", "seed"}
    own = {"pgd": climbing, "transfer": climbing, "square": {"queries", "seed"}}
    return params.model_dump(mode="json", include=own.get(setting.attack, set()))


def _answers(
    target: Target,
    source: Target,
    victims: Victims,
    chosen: np.ndarray,
    setting: Setting,
    params: AttackParams,
    device: torch.device,
) -> dict[str, np.ndarray]:
    """What the target answers to some of the images after the attack."""
    rows = victims.rows[chosen]
    images = to_pixels(to_device(victims.images[rows], device))
    goal = victims.goal.of(torch.from_numpy(chosen).to(device))
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True):
        made = _made(source.network, images, goal, rows, setting, params)
        with torch.no_grad():
            found = {"logits": answer(target.network, made).cpu().numpy()}
        if not setting.attack:
            found["zeros"] = zero_gradients(target.network, images, goal).cpu().numpy()
    return found


def _made(
    network: nn.Module, images: Tensor, goal: Goal, rows: np.ndarray, setting: Setting, params: AttackParams
) -> Tensor:
    """The attacked images; every draw depends on the seed, the restart and the image alone."""

    def draws(name: str) -> list[np.random.Generator]:
        return [stream(params.seed, name, int(row)) for row in rows]

    norm, eps = setting.norm, setting.budget
    if not norm:
        return images
    match setting.attack:
        case "fgsm":
            return fgsm(network, images, goal, norm, eps)
        case "square":
            return square(network, images, goal, norm, eps, queries=params.queries, draws=draws("square"))
        case _:
            return pgd(
                network, images, goal, norm, eps, steps=params.steps, restarts=params.restarts,
                draws=lambda restart: draws(f"pgd {restart}"),
            )  # fmt: skip
