"""The processes that train one network together: one, or several under torchrun (DistributedDataParallel).

Every process runs the same stage on its share of each batch; process 0 alone writes, tracks and resumes.
"""

import os
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from pipeline.common.errors import UserError
from pipeline.runtime.launch import PROCESS_GROUP, under_torchrun

T = TypeVar("T")


def local_rank() -> int:
    """The number of this process on its machine: which of the GPUs is its own."""
    return int(os.environ.get("LOCAL_RANK", "0"))


class World:
    """The processes of one stage. A world of one does nothing, at no cost, in every method."""

    def __init__(self, device: torch.device) -> None:
        """Join the other processes, if torchrun has started any: nccl on GPUs, gloo on CPUs."""
        self.size = int(os.environ.get("WORLD_SIZE", "1")) if under_torchrun() else 1
        self.rank = int(os.environ["RANK"]) if self.size > 1 else 0
        self._device = device
        if self.size > 1 and not dist.is_initialized():
            backend = "nccl" if device.type == "cuda" else "gloo"
            dist.init_process_group(backend, os.environ.get(PROCESS_GROUP), rank=self.rank, world_size=self.size)

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes and tracks."""
        return self.rank == 0

    def require_divisor(self, batch_size: int) -> None:
        """Raise UserError unless the processes can share a batch equally."""
        if batch_size % self.size:
            raise UserError(
                f"training.batch_size is {batch_size}, which {self.size} processes cannot share equally; "
                "choose a multiple of their number, or another machine.processes"
            )

    def named(self, stream: str) -> str:
        """The name of this process's own random stream; process 0 draws what a process on its own would draw."""
        return stream if self.leads else f"{stream} of process {self.rank}"

    def replicate(self, model: nn.Module, synchronised: bool) -> nn.Module:
        """Return what computes the forward pass in training: its gradients are the mean over all processes.

        Running statistics of BatchNorm are those of process 0. `synchronised`: batch statistics over all processes
        instead of each one's own share (SyncBatchNorm; the model is changed in place, its weights keep their names).
        """
        if self.size == 1:
            return model
        if synchronised:
            nn.SyncBatchNorm.convert_sync_batchnorm(model)
        return DistributedDataParallel(model, device_ids=[self._device.index] if self._device.index else None)

    def total(self, values: Tensor) -> Tensor:
        """Return the sum over all processes of a tensor on the device."""
        if self.size > 1:
            values = values.clone()
            dist.all_reduce(values)
        return values

    def gather(self, values: Tensor) -> Tensor:
        """Return the rows of all processes, (B, ...), of which each passes its own; nothing is differentiated."""
        if self.size == 1:
            return values
        counts = [torch.zeros(1, dtype=torch.long, device=values.device) for _ in range(self.size)]
        dist.all_gather(counts, torch.tensor([len(values)], device=values.device))
        sizes = [int(count) for count in counts]
        padded = values.new_zeros((max(sizes), *values.shape[1:]))
        padded[: len(values)] = values
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    def same_buffers(self, model: nn.Module) -> None:
        """Give every process the running statistics of process 0."""
        if self.size > 1:
            for buffer in model.buffers():
                dist.broadcast(buffer, 0)

    def answer(self, rows: np.ndarray, predict: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """Return predict(rows), (len(rows), C), of which each process computes a share."""
        if self.size == 1:
            return predict(rows)
        parts: list[Any] = [None] * self.size
        dist.all_gather_object(parts, predict(np.array_split(rows, self.size)[self.rank]))
        return np.concatenate(parts)

    def agree(self, value: T) -> T:
        """Return what process 0 passes, in every process, once all have come here."""
        if self.size == 1:
            return value
        shared: list[Any] = [value]
        dist.broadcast_object_list(shared, 0)
        return shared[0]
