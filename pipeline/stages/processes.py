"""The processes that share a stage, joined before anything is read or written."""

from pipeline.params.tree import Params
from pipeline.training.device import pick_device
from pipeline.training.world import World, local_rank


def join_processes(params: Params) -> World:
    """Join the other processes of this stage, if torchrun has started any."""
    return World(pick_device(params.machine.device, local_rank()))
