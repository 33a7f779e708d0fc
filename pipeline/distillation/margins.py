"""What a training says of its own labels while it learns them: margins and disagreement, a vector each."""

import torch
from torch import Tensor, nn

from models.names import Task
from pipeline.distillation.objective import Batch, Objective
from pipeline.distillation.rivals import Processes


class Watched:
    """An objective beside which each sample's margin is summed, and the epochs in which the answer was another label.

    The mean margin over training is AUM (Pleiss et al. 2020): the logit of the given label minus the largest other one,
    before the step; multilabel: of each finding, the logit with the sign of the label. Wrong labels have low ones.
    """

    def __init__(
        self, inner: Objective, task: Task, shape: tuple[int, int], device: torch.device, processes: Processes
    ) -> None:
        """`shape`: number of training samples and classes."""
        self._task: Task = task
        self._inner, self._total = inner, processes.total
        of_labels = (shape[0],) if task == "multiclass" else shape
        shapes = {"margins": of_labels, "disagreed": of_labels, "seen": shape[:1]}
        self._sums, self._own = (
            {name: torch.zeros(size, device=device) for name, size in shapes.items()} for _ in range(2)
        )

    def loss(self, batch: Batch, features: Tensor, logits: Tensor) -> dict[str, Tensor]:
        """The inner objective's."""
        margins = label_margins(logits.detach(), batch.targets, self._task)
        self._own["margins"].index_add_(0, batch.index, margins)
        self._own["disagreed"].index_add_(0, batch.index, (margins < 0).float())
        self._own["seen"].index_add_(0, batch.index, torch.ones_like(batch.index, dtype=torch.float32))
        return self._inner.loss(batch, features, logits)

    def after_step(self, batch: Batch, model: nn.Module) -> None:
        """The inner objective's."""
        self._inner.after_step(batch, model)

    def end_epoch(self) -> None:
        """Take in what all processes have seen: the resume file is one process's, and all continue from it."""
        for name, own in self._own.items():
            self._sums[name] += self._total(own)
            own.zero_()
        self._inner.end_epoch()

    def found(self) -> dict[str, Tensor]:
        """Return `aum`, the mean margin, and `disagreed`, the share of the looks at a sample that saw another label."""
        seen = self._sums["seen"].clamp(min=1)
        sums = {"aum": self._sums["margins"], "disagreed": self._sums["disagreed"]}
        return {name: (value / (seen if value.ndim == 1 else seen[:, None])).cpu() for name, value in sums.items()}

    def state_dict(self) -> dict[str, object]:
        """The sums, and the inner memory."""
        return {"inner": self._inner.state_dict(), **self._sums}

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Take up saved sums."""
        for name, own in self._sums.items():
            saved = state[name]
            assert isinstance(saved, Tensor)
            own.copy_(saved)
        inner = state["inner"]
        assert isinstance(inner, dict)
        self._inner.load_state_dict(inner)


def label_margins(logits: Tensor, targets: Tensor, task: Task) -> Tensor:
    """Return each label's margin, (B,) or for multilabel (B, C); `logits`: (B, C)."""
    if task == "multilabel":
        return logits * (2 * targets - 1)
    own = logits.gather(1, targets[:, None]).squeeze(1)
    others = logits.scatter(1, targets[:, None], -torch.inf)
    return own - others.amax(dim=1)
