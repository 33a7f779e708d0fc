"""RoS-KD as users of other tools write it: with torchdistill where it installs, else as a plain DataLoader loop.

Both augment image by image in loader workers and ask all teachers at every step; both get the product's own networks.
"""

import importlib
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, RandomSampler
from torchvision import transforms

from pipeline.runtime.workers import count_cores

INSTALL_SECONDS = 120
PADDING = 6
"""Pixels of the random crop at 64 px, about the shift of the product's flip_crop views."""


class Pictures(Dataset[tuple[Tensor, int]]):
    """Images in memory with labels, transformed one by one, as torchvision's CIFAR10 does it."""

    def __init__(self, images: np.ndarray, targets: np.ndarray) -> None:
        self._images, self._targets = images, targets
        crop = transforms.RandomCrop(images.shape[1], padding=PADDING)
        self._transform = transforms.Compose([crop, transforms.RandomHorizontalFlip(), transforms.ToTensor()])

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        pixels: Any = self._transform(Image.fromarray(self._images[i]))
        return pixels, int(self._targets[i])


class Ensemble(nn.Module):
    """The teachers as one network: (B, 3, H, W) -> (K, B, C)."""

    def __init__(self, teachers: Sequence[nn.Module]) -> None:
        super().__init__()
        self.teachers = nn.ModuleList(teachers)

    def forward(self, pixels: Tensor) -> Tensor:
        return torch.stack([teacher(pixels) for teacher in self.teachers])


def roskd_loss(logits: Tensor, teacher_logits: Tensor, targets: Tensor, tau: float, alpha: float) -> Tensor:
    """alpha tau² Σ_k w_k KL_k + (1 - alpha) cross-entropy with weights drawn anew, as one would write it."""
    weights = torch.empty(len(teacher_logits), device=logits.device).exponential_()
    weights = weights / weights.sum()
    log_p = F.log_softmax(logits / tau, dim=1)
    q = F.softmax(teacher_logits / tau, dim=2)
    divergences = torch.stack([F.kl_div(log_p, of_teacher, reduction="batchmean") for of_teacher in q])
    return alpha * tau**2 * (weights * divergences).sum() + (1 - alpha) * F.cross_entropy(logits, targets)


class TorchdistillLoss(nn.Module):
    """`roskd_loss` as a mid-level loss of torchdistill, which hands over what the models put out."""

    def __init__(self, tau: float, alpha: float) -> None:
        super().__init__()
        self._tau, self._alpha = tau, alpha

    def forward(self, student: dict[str, Any], teacher: dict[str, Any], targets: Tensor) -> Tensor:
        return roskd_loss(student["."]["output"], teacher["."]["output"], targets, self._tau, self._alpha)


@dataclass(frozen=True)
class Job:
    """What is trained on what: `optimiser` holds SGD's settings."""

    pictures: Pictures
    student: nn.Module
    teachers: Sequence[nn.Module]
    optimiser: dict[str, Any]
    device: torch.device
    batch_size: int
    tau: float
    alpha: float

    def loader_options(self) -> dict[str, Any]:
        """What one would give a DataLoader: a worker per core that stays, pinned memory for a GPU, whole batches."""
        return {
            "batch_size": self.batch_size,
            "num_workers": count_cores(),
            "persistent_workers": True,
            "pin_memory": self.device.type == "cuda",
            "drop_last": True,
        }


def plain_steps(job: Job) -> Iterator[None]:
    """Train without end with a plain loop; one step for each `next`."""
    loader = DataLoader(job.pictures, shuffle=True, **job.loader_options())
    student, ensemble = job.student.to(job.device).train(), Ensemble(job.teachers).to(job.device).eval()
    sgd = torch.optim.SGD(student.parameters(), **job.optimiser)
    while True:
        for pixels, targets in loader:
            pixels, targets = pixels.to(job.device, non_blocking=True), targets.to(job.device, non_blocking=True)
            with torch.no_grad():
                teacher_logits = ensemble(pixels)
            loss = roskd_loss(student(pixels), teacher_logits, targets, job.tau, job.alpha)
            sgd.zero_grad()
            loss.backward()
            sgd.step()
            yield


def torchdistill_steps(job: Job) -> Iterator[None]:
    """Train without end with torchdistill's DistillationBox; one step for each `next`."""
    distillation = importlib.import_module("torchdistill.core.distillation")
    loader = {
        "dataset_id": "train",
        "sampler": {"class_or_func": RandomSampler},
        "kwargs": job.loader_options(),
    }
    terms = {"roskd": {"criterion": TorchdistillLoss(job.tau, job.alpha), "weight": 1.0}}
    config = {
        "num_epochs": 1,
        "train_data_loader": loader,
        "teacher": {"forward_proc": "forward_batch_only", "requires_grad": False},
        "student": {"forward_proc": "forward_batch_only"},
        "optimizer": {"key": "SGD", "kwargs": dict(job.optimiser)},
        "criterion": {"key": "WeightedSumLoss", "kwargs": {"sub_terms": terms}},
    }
    box = distillation.get_distillation_box(
        Ensemble(job.teachers).eval(), job.student, {"train": job.pictures}, config, job.device, None, False, 1
    )
    epoch = 0
    while True:
        box.pre_epoch_process(epoch=epoch)
        for pixels, targets, supplement in box.train_data_loader:
            pixels, targets = pixels.to(job.device, non_blocking=True), targets.to(job.device, non_blocking=True)
            box.post_forward_process(loss=box.forward_process(pixels, targets, supplement))
            yield
        box.post_epoch_process()
        epoch += 1


def install_torchdistill(folder: Path) -> str | None:
    """Install the newest torchdistill into `folder` alone and return its version, None where it cannot be had.

    Its dependencies are the project's (torch, torchvision, numpy, scipy, PyYAML); Cython it does not need to run.
    """
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    try:
        subprocess.run(
            [*command, "--target", str(folder), "torchdistill"],
            check=True,
            capture_output=True,
            timeout=INSTALL_SECONDS,
        )
        sys.path.append(str(folder))
        importlib.import_module("torchdistill.core.distillation")
    except (subprocess.SubprocessError, OSError, ImportError):
        return None
    found = [one for one in distributions(path=[str(folder)]) if one.metadata["Name"] == "torchdistill"]
    return found[0].version if found else None
