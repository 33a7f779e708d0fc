"""torch.compile for `machine.compile`: where it is applied, and plain messages for its failures."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from pipeline.common.errors import UserError


def compile_model(model: nn.Module) -> None:
    """Compile the network's calls in place: the names of its weights stay, and its copies are not compiled.

    Compilation happens at the first call with each batch size; one variant for all sizes would serve the batches that
    come after it too, so that a resumed training would round differently from an unbroken one. What was compiled for
    earlier networks is forgotten: torch keeps a limited number of variants of one `forward` and would run the rest
    uncompiled.
    """
    torch.compiler.reset()
    model.compile(dynamic=False)


@contextmanager
def plain_compile_errors(compiled: bool) -> Iterator[None]:
    """Turn a failure of torch.compile inside into a UserError."""
    if not compiled:
        yield
        return
    from torch._dynamo.exc import TorchDynamoException  # takes a second to import

    try:
        yield
    except TorchDynamoException as error:
        reason = " ".join(str(error).split("\n\n")[0].split())  # what follows are hints for torch's developers
        raise UserError(
            f"machine.compile is true, but torch.compile failed ({reason}). It needs a C++ compiler, and Triton on a "
            "GPU; set machine.compile: false to train without it"
        ) from error
